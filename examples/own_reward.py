"""A part of the reward of one's own: how many of a self-edit's lines are points of a list.

seal-ray run CONFIG --selection.reward.own '{"own_reward:leads": 0.1}'      # with this file beside CONFIG
"""

from seal_ray import Outcome, SelfEdit


def leads(edit: SelfEdit, outcome: Outcome) -> float:
    lines = edit.completion.splitlines()
    return sum(line.startswith("- ") for line in lines) / len(lines) if lines else 0.0
