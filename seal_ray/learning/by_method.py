"""Documents learnt by one of the methods: all that it makes of every passage, for one adapter."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from seal_ray.config import Config
from seal_ray.domains.knowledge.studied import Studied, StudiedTask
from seal_ray.events import Advanced, StageBegan
from seal_ray.gathering import all_of
from seal_ray.loop.methods import desk_of
from seal_ray.loop.session import Session
from seal_ray.methods.base import EXTERNAL, Method, Study, by_skill, find_method, makes_adapter, study_of, whole
from seal_ray.methods.base import METHODS as KNOWN
from seal_ray.plain import counted
from seal_ray.types import Recipe, UserError


def method_of(config: Config, domain: Studied) -> Method | None:
    """The method by which a config learns documents; None for the way that `learn` has of its own."""
    names = config.evaluation.methods
    return find_method(names[0], domain) if names else None


def check_method(config: Config) -> None:
    """Refuse what makes no adapter of texts, or is no method at all, with those that do."""
    names = config.evaluation.methods
    if not names or (len(names) == 1 and makes_adapter(names[0])):
        return
    name, said = names[0], ", ".join(names)
    if ":" in name and not name.startswith(EXTERNAL):
        by_skill(name)  # one's own, which may not be at hand: says why
    able = sorted(filter(makes_adapter, KNOWN), key=lambda each: -SequenceMatcher(None, name.lower(), each).ratio())
    raise UserError(f"--method {said}: give one that makes an adapter of texts, the nearest first: {', '.join(able)}")


def said_of(config: Config) -> str:
    """By which method, and with how many texts; nothing for the way of its own."""
    if not (names := config.evaluation.methods):
        return ""
    texts = config.evaluation.texts[0]
    return names[0] if names[0] == "passage" else f"{names[0]} with {counted(texts, 'text')} of each passage"


async def studied(session: Session, method: Method, tasks: Sequence[StudiedTask]) -> tuple[Recipe, int]:
    """The recipe that a method makes of all passages together, and how many texts were written for it."""
    texts, stage = session.config.evaluation.texts[0], f"{session.config.evaluation.methods[0]}: texts"
    session.events.emit(StageBegan(stage, len(tasks)))
    desk = desk_of(session, session.runner)

    async def one(task: StudiedTask) -> Study:
        found = await study_of(method, task, texts, desk)
        session.events.emit(Advanced(stage))
        return found

    studies = await all_of(map(one, tasks))
    return whole(studies), sum(not edit.refused for study in studies for edit in study.edits)
