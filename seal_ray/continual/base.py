"""What a way of learning one passage after another is given, and what it decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from seal_ray import plugins
from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config
from seal_ray.types import BASE, AdapterRef, Example, Recipe, Task, UserError

WAYS = {
    "none": "seal_ray.continual.plain:Nothing",
    "merge": "seal_ray.continual.plain:Merge",
    "last-layers": "seal_ray.continual.plain:LastLayers",
    "joint": "seal_ray.continual.texts:Joint",
    "replay": "seal_ray.continual.texts:Replay",
    "replay-last-layers": "seal_ray.continual.texts:ReplayLastLayers",
    "review": "seal_ray.continual.texts:Review",
    "rehearse": "seal_ray.continual.texts:Rehearse",
    "kl": "seal_ray.continual.texts:Anchored",
    "ema": "seal_ray.continual.deltas:Averaged",
    "sparse": "seal_ray.continual.deltas:Sparse",
    "orthogonal": "seal_ray.continual.deltas:Orthogonal",
    "gated": "seal_ray.continual.gate:Gated",
    "library": "seal_ray.continual.library:Library",
}

Keeps = Literal["apart", "stacked", "mixed"]
"""Where what a passage taught lies, once others have come.

`apart`: each lesson is an adapter of its own, learnt from where the order began, and answers what it is asked for.
`stacked`: learnt on top of all before, and added to them. `mixed`: in one adapter in which no lesson can be told from
the others.
"""

Likelihoods = Callable[[Adapter | None, Sequence[Example]], Awaitable[Sequence[float]]]
"""The mean log-likelihood a token of each of these texts, under this adapter."""


@dataclass(frozen=True)
class Lesson:
    """A passage that came, and what its self-edit trains."""

    task: Task
    recipe: Recipe
    adapter: AdapterRef
    """What was trained for it; the base's where nothing was."""
    name: str = ""
    """Its row's key, which stays the same where it is trained again after a kill and its last bits differ."""


@dataclass(frozen=True)
class Stand:
    """Where a stream stands when the next passage comes."""

    start: Adapter | None
    """The policy that the stream began with; None for the untouched base."""
    head: Adapter | None
    """The policy that is asked now."""
    lessons: tuple[Lesson, ...]
    load: Callable[[AdapterRef], Adapter] = field(repr=False)
    asked: bool = True
    """Whether everything is asked after this passage."""
    new: tuple[Example, ...] = ()
    """What the self-edit of the passage that comes trains; nothing where it cannot be used."""
    below: Adapter | None = None
    """What the passage was learnt on top of, which is what `base` said; for `enter`."""
    practised: tuple[Example, ...] = ()
    """What the policy that the stream began with answers to questions of what it knew, for a way that `practises`."""

    @property
    def learnt(self) -> list[Adapter]:
        """The lessons so far that have an adapter; of some passages nothing could be learnt."""
        return [self.load(lesson.adapter) for lesson in self.lessons if lesson.adapter != BASE]


class Way(Protocol):
    """Made from a run's config; one's own is named as `package.module:Thing`. `plain.Merge` has a default of each."""

    practises: bool
    """Whether it wants answers of what was known before."""
    keeps: Keeps
    """Where what a passage taught lies, once others have come."""

    def base(self, stand: Stand) -> Adapter | None:
        """What the passage is learnt on top of."""
        ...

    def recipe(self, stand: Stand, recipe: Recipe | None) -> Recipe | None:
        """What is trained for a passage, by the recipe of its self-edit if that has one; None to train nothing."""
        ...

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        """The policy that is asked from now on, once this was trained on top of `base`."""
        ...

    def lessons_for(self, questions: Sequence[str], lessons: Sequence[Lesson]) -> list[int | None]:
        """Which lesson's own adapter answers each question; None where it is the policy as a whole."""
        ...


def keeps_of(name: str) -> Keeps:
    """Where the way of that name keeps what a passage taught; `UserError` where it is one's own and not at hand."""
    keeps: Keeps = _kind_of(name).keeps
    return keeps


def find_way(name: str, config: Config) -> Way:
    """The way of that name."""
    way: Way = plugins.made(f"continual.ways {name!r}: is made from the config", _kind_of(name), config)
    return way


def _kind_of(name: str) -> Any:
    """The class of that name; `UserError` where it lacks what a way has."""
    members = ("practises", "keeps", "base", "recipe", "enter", "lessons_for")
    kind = plugins.find_with("continual.ways", name, WAYS, members, "seal_ray/continual/base.py", "enter")
    if kind.keeps not in get_args(Keeps):
        raise UserError(f"continual.ways {name!r}: its `keeps` is {kind.keeps!r}, and none of {get_args(Keeps)}")
    return kind
