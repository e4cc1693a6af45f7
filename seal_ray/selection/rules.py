"""Which of a task's self-edits the policy is finetuned on.

A reward alone does not say that a self-edit taught anything: the task may score as much without training, graders give
wrong answers a little, and a seed is a noisy judge. So each candidate is held to what its task scores without training.
"""

from __future__ import annotations

import random as _random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from statistics import fmean

from seal_ray import plugins
from seal_ray.selection.reliability import Belief, Prior
from seal_ray.types import SelfEdit

RIGHT = 0.5
"""Above this verdict, a probability, a question counts as answered rightly."""
SURE = 0.9
"""How probable it has to be that a self-edit beats what its task scores without training, for it to be learnt from."""

_A_HAIR = 1e-9
"""The mean of three rewards of .1 is more than .1 in floating point."""


@dataclass(frozen=True)
class Candidate:
    """A self-edit and the rewards of its trials, one per seed."""

    edit: SelfEdit
    rewards: tuple[float, ...] = ()
    """What it is chosen by: one for each trial that has ended; 0 for a failed one."""
    problem: str = ""
    """Why it is not usable, when it is not: nothing could be trained on it, or a trial failed."""
    verdicts: tuple[float, ...] = ()
    """One for each question of its task, the mean over its trials; empty where no question was answered."""
    before: tuple[float, ...] = ()
    """The same without any training."""
    better: float = 0.0
    """The probability that it beats what its task scores without training."""
    expected: float | None = None
    """What a race believes its true reward to be, which trusts few seeds less than many."""
    earned: tuple[float, ...] | None = None
    """Of each trial, what is held to what its task scores without training, where that is not what it is chosen by."""

    @property
    def reward(self) -> float:
        """The reward to choose by."""
        if self.expected is not None:
            return self.expected
        return fmean(self.rewards) if self.rewards else 0.0

    @property
    def held(self) -> tuple[float, ...]:
        """For each trial, the reward that is compared with the task's score without training."""
        return self.rewards if self.earned is None else self.earned

    @property
    def taught(self) -> bool:
        return not self.problem and self.better >= SURE

    @property
    def questions(self) -> frozenset[int]:
        """The questions that it taught: right more often than not, and not so without training."""
        known = {number for number, verdict in enumerate(self.before) if verdict > RIGHT}
        return frozenset(number for number, verdict in enumerate(self.verdicts) if verdict > RIGHT) - known


def judged(
    candidates: Sequence[Candidate],
    untrained: float,
    prior: Prior,
    raced: bool = False,
    before: Sequence[float] = (),
    chosen: Prior | None = None,
) -> list[Candidate]:
    """One task's candidates, each with how probably it beats what the task scores `untrained`.

    Where they were `raced`, each also gets the true reward that is to be expected of it. To have taught, a candidate
    must also have been seen to: rewards no higher than without training are no evidence, whatever the other candidates
    lead one to expect of it. `before` holds the verdicts on the task's questions without training. `prior` is what is
    believed of the rewards that are held to `untrained`, and `chosen` of those that candidates are chosen by.
    """
    held = [() if c.problem else c.held for c in candidates]
    rewards = [() if c.problem else c.rewards for c in candidates]
    chances = [1.0] * len(held) if _certain(held) else Belief.after(held, prior).above(untrained).tolist()
    means = Belief.after(rewards, chosen or prior).true_C
    return [
        replace(
            candidate,
            better=chance if own and fmean(own) > untrained + _A_HAIR else 0.0,
            expected=(float(mean) if own else 0.0) if raced else None,
            before=tuple(before),
        )
        for candidate, own, chance, mean in zip(candidates, held, chances, means, strict=True)
    ]


def _certain(rewards: Sequence[Sequence[float]]) -> bool:
    """Whether a task is solved or is not, and no seed disagrees with another: there is no noise to allow for."""
    return all(set(own) <= {0.0, 1.0} and len(set(own)) <= 1 for own in rewards)


@dataclass(frozen=True)
class Rule:
    """A way to choose among one task's candidates. The seed is for rules that choose at random."""

    choose: Callable[[Sequence[Candidate], int], list[Candidate]]
    needs_rewards: bool = True


def best(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The one that taught most, the first of equals; none when no candidate taught anything."""
    top = max(positive(candidates, seed), key=lambda c: c.reward, default=None)
    return [top] if top else []


def positive(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Every one that taught something."""
    return [c for c in candidates if c.taught]


def cover(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """A set that together teaches as many questions as all do: each next one teaches most that none before it does.

    Of those that teach as many, the greatest reward comes first; the set ends with the one that adds the last question.
    Where answers are no evidence, as with a reward by likelihood, that is the best one alone.
    """
    left, kept, covered = positive(candidates, seed), list[Candidate](), frozenset[int]()
    while left:
        top = max(left, key=lambda c: (len(c.questions - covered), c.reward))
        if kept and not top.questions - covered:
            break
        kept.append(top)
        covered |= top.questions
        left.remove(top)
    return kept


def kinds(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The best of each strategy that the task's self-edits were written with; without strategies, the best."""
    strategies = dict.fromkeys(c.edit.strategy for c in candidates)
    return [c for kind in strategies for c in best([c for c in candidates if c.edit.strategy == kind], seed)]


def random(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The control: any usable one, of the tasks where the best is kept. It shows that the reward does the work."""
    return usable(candidates, seed) if best(candidates, seed) else []


def usable(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Any one that can be trained on, of every task, whether or not it would teach anything; nothing is tried."""
    found = [c for c in candidates if not c.problem]
    return [_random.Random(seed).choice(found)] if found else []


RULES = {
    "best": Rule(best),
    "positive": Rule(positive),
    "cover": Rule(cover),
    "kinds": Rule(kinds),
    "random": Rule(random),
    "usable": Rule(usable, needs_rewards=False),
}


def find_rule(name: str) -> Rule:
    """The rule of that name; a plain function of one's own counts as one that needs rewards."""
    found = plugins.find("selection.rule", name, RULES)
    rule = found if isinstance(found, Rule) else Rule(found)
    wrong = f"selection.rule {name!r}: neither a Rule nor a function of candidates and seed"
    plugins.must_take(wrong, rule.choose, "candidates", "seed")
    return rule


def why_none(candidates: Sequence[Candidate], directory: str) -> str:
    """What to say when a round has nothing to learn from; what was tried is on record in `directory`."""
    problems = Counter(c.problem for c in candidates if c.problem)
    ((problem, _),) = problems.most_common(1) or [("", 0)]
    if problems.total() == len(candidates):
        return f"all {len(candidates)} self-edits failed, most of them: {problem}"
    failed = f"; {problems.total()} failed, most of them: {problem}" if problem else ""
    return (
        f"no self-edit taught anything: none of {len(candidates)} is surely ({SURE:.0%}) better than what its task "
        f"scores without training{failed}; nothing to learn from. More self-edits of a task (sampling.per_task), more "
        "seeds of each (trial.seeds) and more tasks (domain.train) make it likelier that one is; "
        f"`seal-ray explain {quote(directory)}` has what was tried"
    )
