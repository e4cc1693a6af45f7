"""What a directory knows of the documents that were learnt there: kept as `learnt.json`, and said in a few lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seal_ray.plain import counted
from seal_ray.record.storage import Store
from seal_ray.record.summary import FEWEST, LEARNT, Interval
from seal_ray.types import UserError

FILE = "learnt.json"
_HARDLY = 0.5
"""The share of the first loss above which what is taught is not known yet: an adapter that knows it ends far below."""
_UNTOLD = (
    "knows now:   not measured, for no question that the model wrote is fit to be reported; a larger one writes "
    "better ones (--questions.endpoint)"
)


def known_arm(version: int) -> str:
    """What the table calls the policy that has learnt this version of the documents."""
    return f"{LEARNT}{version}"


@dataclass(frozen=True)
class Elsewhere:
    """How a model does on what no document is about."""

    right: int
    asked: int
    loss: float
    """Nats a token, over the sentences."""


@dataclass(frozen=True)
class Account:
    """What a directory knows, and how well."""

    documents: str
    """The key of the documents."""
    settings: str
    """The name of the run: what decided its results beside the documents."""
    version: int
    adapter: str
    """The hash of the adapter."""
    passages: int
    words: int
    questions: int
    """How many were reported."""
    kept: int
    """Passages that are learnt with a self-edit beside them."""
    arms: Mapping[str, Mapping[str, Any]]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    minutes: float
    """In which workers were at work."""
    trials: int
    tokens: int
    """Trained on by these trials, and written."""
    method: str = ""
    """By which method, with how many texts; empty for `learn`'s own way."""
    texts: int = 0
    """How many it had written."""
    examples: int = 0
    steps: int = 0
    """What the adapter was trained on, and in how many steps; older versions did not write them down."""
    losses: Sequence[float] = ()
    """Of the first and the last of these steps; nothing where older versions did not write them down."""
    asked: Sequence[Mapping[str, str]] = ()
    """The questions that were reported: the passage, what is right, and what was answered before and after."""

    def save(self, store: Store) -> None:
        store.write(FILE, json.dumps(asdict(self), indent=2).encode())

    def figure(self, arm: str) -> Interval | None:
        """What was measured of an arm, over the questions that were reported."""
        return Interval(**self.arms[arm]) if arm in self.arms else None

    @property
    def _learnt(self) -> str:
        if self.method:
            return f"learnt by {self.method}" + (f", {self.texts} in all" if self.method != "passage" else "")
        return f"{self.kept} of {self.passages} passages are learnt with notes of the model's own"

    def lines(self) -> list[str]:
        """What was known before, what is known now, what reading gives, what was lost, and the cost: a line each."""
        base = self.figure("base")
        asked = counted(self.questions, "synthetic question")
        over = f"{asked} on {base.n if base else 0} of {self.passages} passages"
        so_far = f" for all {self.version} versions" if self.version > 1 else ""
        lost = Elsewhere(**self.before), Elsewhere(**self.after)
        known = [
            f"knew before: {_share(base)} of {over}, out of sight",
            f"knows now:   {_share(self.figure(known_arm(self.version)))} (the documents out of sight){self._hardly}",
            f"reads:       {_share(self.figure('in-context'))} (the base, with the passage in its prompt)",
        ]
        return [
            *(known if self.questions else [f"{_UNTOLD}{self._hardly}"]),
            f"elsewhere:   {lost[1].right} of {lost[1].asked} questions of general knowledge, {lost[0].right} before; "
            f"{lost[1].loss:.2f} nats a token on general sentences, {lost[0].loss:.2f} before",
            f"cost:        {self.minutes:.1f} minutes of work{so_far}, {self._work}; {self._learnt}",
        ]

    @property
    def _hardly(self) -> str:
        """What to try where the training ended before it had taught what it was to teach."""
        if not self.losses or self.losses[1] < _HARDLY * self.losses[0]:
            return ""
        first, last = (f"{loss:.2f}" for loss in self.losses)
        more = f"the loss went from {first} to {last} in {counted(self.steps, 'step')}; teach it longer"
        return f"; hardly taught, for {more} (--update.optim.epochs)"

    def answers(self) -> list[str]:
        """Every question that was reported, with its answers: a figure over few is only as good as these."""
        lines = []
        for each in self.asked:
            lines += ["", f"{each['passage']}: {each['question']}"]
            lines += [f"  {name + ':':7} {' '.join(each[name].split())}" for name in ("right", "before", "after")]
        return lines

    @property
    def _work(self) -> str:
        if self.trials or not self.method:
            return f"{self.trials} trials ({self.tokens} tokens with what they tried)"
        written = f"{counted(self.tokens, 'token')} written"
        if not self.steps:
            return written
        return f"one adapter trained on {counted(self.examples, 'example')} in {counted(self.steps, 'step')}, {written}"


def read_account(store: Store) -> Account | None:
    """The account that a directory holds; None where it has none that this version can read."""
    if not store.exists(FILE):
        return None
    try:
        return Account(**json.loads(store.read(FILE)))
    except (ValueError, TypeError):
        return None


def known_here(directory: str) -> Account:
    """The account of a directory in which documents were learnt."""
    found = read_account(Store(directory))
    if found is None:
        raise UserError(
            f"{directory}: nothing was learnt here to its end; `seal-ray learn FILE… --into {directory}` does"
        )
    return found


def _share(found: Interval | None) -> str:
    if not found:
        return "–"
    between = f"{found.low:.0%} – {found.high:.0%}" if found.n >= FEWEST else "too few to tell"
    return f"{found.accuracy:.0%} ({between})"
