"""How a model is asked for advice on writing self-edits: two of them are shown, one that taught more than the other."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.domains.knowledge.styles import Style
from seal_ray.types import Message, Prompt

_SYSTEM = "You teach people to write study notes. You give one short piece of advice and nothing around it."
_SHOWN = "Notes from which much was learnt:\n{best}\n\nNotes from which little was learnt:\n{worst}"
_ASKED = (
    "What makes notes like the former better than notes like the latter? Say it as one rule for whoever writes notes "
    "on another subject. Begin with a verb, take at most twenty words, and leave out what these notes are about."
)
_CUE = "A rule for writing good notes on any subject, in one sentence:"
_LONGEST = 600
"""Characters of each that are shown: what tells them apart is their form, and a prompt has to fit."""


@dataclass(frozen=True)
class Comparison(Style):
    """Asks what one self-edit does that another does not; the passage stays away, lest it be written about."""

    best: str = ""
    worst: str = ""

    def prompt(self, title: str, context: str, chat: bool) -> Prompt:
        shown = _SHOWN.format(best=_cut(self.best), worst=_cut(self.worst))
        if chat:
            return Message("system", _SYSTEM), Message("user", f"{shown}\n\n{_ASKED}")
        return f"{shown}\n\n{_CUE}"


def comparing(best: str, worst: str) -> Comparison:
    """The style that shows these two."""
    return Comparison("advice", "", "", best=best, worst=worst)


def _cut(text: str) -> str:
    said = text.strip()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST].rstrip()} …"
