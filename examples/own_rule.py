"""A selection rule of one's own: the two shortest self-edits that taught something.

seal-ray run CONFIG --selection.rule own_rule:shortest      # with this file beside CONFIG
"""

from collections.abc import Sequence

from seal_ray import Candidate


def shortest(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    taught = [candidate for candidate in candidates if candidate.taught]
    return sorted(taught, key=lambda candidate: len(candidate.edit.completion))[:2]
