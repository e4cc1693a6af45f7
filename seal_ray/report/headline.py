"""The first sentence of the page: did it learn, by how much, beside what, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seal_ray.config import Config
from seal_ray.plain import counted
from seal_ray.record.summary import FEWEST, LEARNT, Interval, interval
from seal_ray.report.arms import Arm
from seal_ray.report.methods import Measured
from seal_ray.report.turns import Turn, passages
from seal_ray.report.words import between, percent, points
from seal_ray.update.base import updates

_BESIDE = 2
"""How many other measurements the sentence names."""
_BARE = {"base": "the base", "in-context": "the passage in its prompt", "passage only": "the passage alone"}
"""What a person calls the baselines."""


@dataclass(frozen=True)
class Headline:
    """A sentence in pieces, every second one a figure to be stressed, and what kind of news it is."""

    tone: Literal["good", "bad", "level"]
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def headline(
    arms: Sequence[Arm],
    control: Sequence[Arm],
    void: Sequence[Arm],
    turns: Sequence[Turn],
    methods: Sequence[Measured],
    config: Config | None,
) -> Headline:
    """The headline for these measurements; the config, where it is known, tells how many rounds are asked for."""
    first, last = _first(arms), _last(arms)
    if last and first:
        return _change(first, last, arms, control)
    one = last or first
    if one:
        ended = "" if last or config is None else _why_no_round(config)
        found = (
            f"Held-out accuracy {_with(one)} is ",
            percent(one.measured.accuracy),
            f"{_how(one)}{_beside(one, arms, control)}.{ended}",
        )
        return Headline("level", found)
    if turns:
        return _in_turn(turns)
    if methods:
        return _by_method(methods)
    if arms:
        figures = ", ".join(f"{arm.name} {percent(arm.measured.accuracy)}" for arm in arms)
        return Headline("level", (f"Only baselines have been measured so far: {figures}.",))
    if void:
        return Headline("bad", ("Nothing was measured: every trial failed.",))
    return Headline("level", ("Nothing has been measured yet.",))


def _by_method(methods: Sequence[Measured]) -> Headline:
    best = max(methods, key=lambda each: each.accuracy)
    texts = f" with {counted(int(best.texts), 'text')}" if best.texts and best.in_picture else ""
    what = f"“{best.method}”{texts}"
    said = f"Of {counted(len({each.method for each in methods}), 'method')}, {what} taught most: "
    return Headline("level", (said, percent(best.accuracy), f" over {counted(best.tasks, 'held-out task')}."))


def _in_turn(turns: Sequence[Turn]) -> Headline:
    """The headline of a run of passages in turn: of the way that keeps most."""
    best, worst = turns[0], turns[-1]
    said = f"Of {passages(turns)} passages learnt one after another, the way “{best.way}” knew "
    kept = f" just after each and kept {percent(best.kept)} at the end, from {percent(best.before)} before"
    beside = f"; of {len(turns)} ways “{worst.way}” kept least, {percent(worst.kept)}" if len(turns) > 1 else ""
    orders = f", over {counted(best.orders, 'order')}"
    return Headline("level", (said, percent(best.learnt), f"{kept}{orders}{beside}."))


_NOT_YET = " No round has been measured yet."
_ONLY_MEASURES = " This run only measures: it has no rounds."
_UNCHANGED = " Its rounds leave the policy as it is."


def _why_no_round(config: Config) -> str:
    if not config.run.rounds:
        return _ONLY_MEASURES
    return _NOT_YET if updates(config) else _UNCHANGED


def _first(arms: Sequence[Arm]) -> Arm | None:
    return next((arm for arm in arms if arm.round == 0 or (arm.name == "base" and _learnt(arms))), None)


def _last(arms: Sequence[Arm]) -> Arm | None:
    return _learnt(arms) or next((arm for arm in reversed(arms) if arm.round), None)


def _learnt(arms: Sequence[Arm]) -> Arm | None:
    return next((arm for arm in reversed(arms) if arm.name.startswith(LEARNT)), None)


def _change(first: Arm, last: Arm, arms: Sequence[Arm], control: Sequence[Arm]) -> Headline:
    was, now = percent(first.measured.accuracy), percent(last.measured.accuracy)
    if last.few:
        said = f"Too few to tell: over {_over(last)}, held-out accuracy was "
        more = f" {_with(last)}{_beside(last, arms, control)}."
        least = f" From {FEWEST} tasks on a difference can be told from chance."
        return Headline("level", (said, was, f" {_with(first)} and ", now, more + least))
    gain = last.gain if last.round else _gain(first, last)
    verb, tone = _verb(gain)
    so_far = "So far, held-out" if last.pending else "Held-out"
    interval_of = f"95% interval {points(gain.low)} to {points(gain.high)}, " if gain else ""
    size = f": {points(gain.accuracy)} points" if gain else ""
    ending = f" {_with(last)}{size} ({interval_of}{_over(last)}){_best(last, arms)}{_beside(last, arms, control)}."
    return Headline(tone, (f"{so_far} accuracy {verb} ", was, f" {_with(first)} to ", now, ending))


def _gain(first: Arm, last: Arm) -> Interval | None:
    """The difference, task by task."""
    found = [reward - first.of_task[task] for task, reward in last.of_task.items() if task in first.of_task]
    return interval(found) if found else None


def _verb(gain: Interval | None) -> tuple[str, Literal["good", "bad", "level"]]:
    """What the measurement supports, and no more."""
    if gain is None:
        return "went from", "level"
    if gain.low <= 0 <= gain.high:
        return "did not clearly change: from", "level"
    return ("rose from", "good") if gain.low > 0 else ("fell from", "bad")


def _with(arm: Arm) -> str:
    if arm.name.startswith(LEARNT):
        return "once the documents were learnt"
    return arm.name if arm.round else f"with {_BARE.get(arm.name, arm.name)}"


def _over(arm: Arm) -> str:
    """So many tasks, and whose questions."""
    m = arm.measured
    tasks = counted(m.n, "held-out task")
    asked = f" with {counted(arm.questions, 'question')}" if arm.few and arm.questions else ""
    if not m.synthetic:
        return tasks + asked
    return f"{tasks}{asked}, {'all' if m.synthetic == m.n else m.synthetic} with questions that a model wrote"


def _how(arm: Arm) -> str:
    if arm.few:
        return f", over {_over(arm)}, too few for an interval"
    return f" (95% interval {between(arm.measured)}, {_over(arm)})"


def _best(last: Arm, arms: Sequence[Arm]) -> str:
    """A measurement of the policy that was better than its last one."""
    best = max((arm for arm in arms if arm.round is not None), key=lambda arm: arm.measured.accuracy, default=last)
    if best.measured.accuracy <= last.measured.accuracy:
        return ""
    return f"; the best was {percent(best.measured.accuracy)} {_with(best)}"


def _beside(one: Arm, arms: Sequence[Arm], control: Sequence[Arm]) -> str:
    """The control, and the best of what was measured without the policy's self-edits."""
    found = [("the control", arm) for arm in control[-1:] if arm.round]
    others = [arm for arm in arms if arm.round is None and arm.name != one.name]
    found += [(_BARE.get(arm.name, arm.name), arm) for arm in sorted(others, key=lambda arm: -arm.measured.accuracy)]
    if one.name.startswith(LEARNT):
        found = [each for each in found if each[1].name != "base"]
    said = [f"{percent(arm.measured.accuracy)} for {name}" for name, arm in found[:_BESIDE]]
    return f", beside {' and '.join(said)}" if said else ""
