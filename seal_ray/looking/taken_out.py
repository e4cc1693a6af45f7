"""What taking a lesson out of a sequence changed, in words."""

from __future__ import annotations

from dataclasses import asdict
from statistics import fmean
from typing import Any

from seal_ray.looking.held import Shelf
from seal_ray.looking.words import NOTHING, columns, percent
from seal_ray.policy.retraction import Passage, Retraction

_LOSSY = 1e-3
"""What compression may lose, of the norm of the whole, before it is said."""
_LITTLE = 0.2
"""An accuracy below which a share of it says little: a few questions more or less are a large part of it."""


def as_json(found: Retraction) -> dict[str, Any]:
    """All of it for a program."""
    return {**asdict(found), "others_keep": found.others_keep}


def lines(directory: str, found: Retraction) -> list[str]:
    """A line for each passage, and what is to be said of the whole."""
    titles = Shelf(directory).titles
    rows = [["", "passage", "base", "at the end", "now", ""]]
    rows += [_cells(each, titles.get(each.task_id, each.task_id)) for each in found.passages]
    if found.known_before:
        rows.append(["", "known before", NOTHING, *map(percent, found.known_before), ""])
    return [*columns(rows), *_said(directory, found)]


def note(found: Retraction) -> str:
    """A line beside figures of the whole sequence."""
    return f"{found.head} is on record too, and not in the figures above: {_kept(found)}"


def _cells(each: Passage, title: str) -> list[str]:
    figures = percent(each.base), percent(each.learnt), percent(each.without)
    return [str(each.number), title, *figures, "taken out" if each.out else ""]


def _said(directory: str, found: Retraction) -> list[str]:
    kept = f"{found.head}: {_kept(found)}"
    if found.keeps == "apart":
        return [f"{kept}; their lessons are as they were"]
    first = next((each.number for each in found.passages if each.out), 0)
    later = any(not each.out for each in found.passages[first:])
    said = [f"{kept}; those that came later were learnt on top of what was taken out" if later else kept]
    if found.error > _LOSSY:
        said.append(f"compression to update.max_rank lost {percent(found.error)} of its size")
    return [*said, f'as an adapter: seal-ray export {directory} --policy "{found.head}" --adapter DIR']


def _kept(found: Retraction) -> str:
    """How much of their accuracy the other passages keep; both accuracies, where the one before was small."""
    others = [each for each in found.passages if not each.out]
    if not others:
        return "no other passage is left"
    learnt, now = (fmean(values) for values in zip(*((each.learnt, each.without) for each in others), strict=True))
    if learnt < _LITTLE:
        return f"the other passages have {percent(learnt)} at the end and {percent(now)} now"
    return f"the other passages keep {percent(found.others_keep)} of what they had"
