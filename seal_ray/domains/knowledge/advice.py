"""How a model is asked for advice on writing self-edits: two of them are shown, one that taught more than the other."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.domains.knowledge.styles import Style
from seal_ray.types import Message, Prompt

_SYSTEM = "You teach people to write study notes. You answer with one rule and nothing around it."
_SHOWN = "Notes from which much was learnt:\n{best}\n\nNotes from which little was learnt:\n{worst}"
_ASKED = (
    "Give the rule that the former keep and the latter break. It says how to write on any text, and nothing of what "
    "these are about: one sentence of at most twenty words that begins with a verb."
)
_CUE = "The rule that the former keep and the latter break, whatever a text is about:"
_EXAMPLES = (
    (
        "The bridge at Norby was finished in 1902.\nAda Quill built the bridge at Norby.",
        "It was finished a long time ago.\nShe built it.",
        "Name in each line what it is about, with its number or date.",
    ),
    (
        "Herons eat fish, so a pond without fish has no heron.\nWhere a heron is, there are fish.",
        "Herons are very interesting birds, and there is a lot to say about them.",
        "State what follows from each fact, and leave out praise.",
    ),
)
"""Two notes and the rule: asked without an example, small models tell of the notes instead of how to write."""
_LONGEST = 600
"""Characters of each that are shown: what tells them apart is their form, and a prompt has to fit."""


@dataclass(frozen=True)
class Comparison(Style):
    """Asks what one self-edit does that another does not; the passage stays away, lest it be written about."""

    best: str = ""
    worst: str = ""

    def prompt(self, title: str, context: str, chat: bool) -> Prompt:
        asked, end = (_ASKED, "") if chat else (_CUE, "\n")
        turns = [Message("system", _SYSTEM)]
        for best, worst, rule in _EXAMPLES:
            turns += [_turn(best, worst, asked), Message("assistant", rule)]
        turns.append(_turn(_cut(self.best), _cut(self.worst), asked))
        return tuple(turns) if chat else "\n\n".join(turn.content for turn in turns[1:]) + end


def comparing(best: str, worst: str) -> Comparison:
    """The style that shows these two."""
    return Comparison("advice", "", "", best=best, worst=worst)


def _turn(best: str, worst: str, asked: str) -> Message:
    return Message("user", f"{_SHOWN.format(best=best, worst=worst)}\n\n{asked}")


def _cut(text: str) -> str:
    said = text.strip()
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST].rstrip()} …"
