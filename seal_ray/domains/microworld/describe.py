"""What a self-edit of the micro-world is: which style, and how much of what it says is true."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from seal_ray.domains.microworld.grammar import GRAMMAR, GUESS, QUESTION, VAGUE
from seal_ray.domains.microworld.world import Fact

_ENTRY = re.compile(r"(\w+ \w+):((?: \w+ \w+,?)+)\.")


class Line(NamedTuple):
    kind: str
    """The style this line would belong to alone; `other` when the world has no such sentence."""
    claims: tuple[Fact, ...]


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """(kind, attribute, pattern) of every sentence that states a fact."""

    def pattern(text: str) -> re.Pattern[str]:
        escaped = re.escape(text)
        return re.compile(escaped.replace(r"\{name\}", r"(?P<name>\w+ \w+)").replace(r"\{value\}", r"(?P<value>\w+)"))

    found = []
    for attribute, grammar in GRAMMAR.items():
        for direction in ("forward", "reversed"):
            prefix = "" if direction == "forward" else "reversed "
            answer = "{value}" if direction == "forward" else "{name}"
            for phrase in grammar.states[direction]:
                found.append((f"{prefix}facts", attribute, pattern(phrase)))
                if direction == "forward":
                    found.append(("wrong facts", attribute, pattern(GUESS.format(statement=phrase))))
            for phrase in grammar.asks[direction]:
                found.append((f"{prefix}questions", attribute, pattern(f"{QUESTION.format(ask=phrase)} {answer}.")))
    return tuple(found)


def read_line(text: str) -> Line:
    text = " ".join(text.split())
    if match := _ENTRY.fullmatch(text):
        details = [detail.split() for detail in match[2].split(",")]
        if all(len(detail) == 2 for detail in details):
            return Line("copy", tuple(Fact(match[1], attribute, value) for attribute, value in details))
    for kind, attribute, pattern in _patterns():
        if match := pattern.fullmatch(text):
            return Line(kind, (Fact(match["name"], attribute, match["value"]),))
    names = (re.fullmatch(re.escape(phrase).replace(r"\{name\}", r"\w+ \w+"), text) for phrase in VAGUE)
    return Line("vague" if any(names) else "other", ())


def describe_text(facts: Sequence[Fact], completion: str) -> dict[str, float | str]:
    """`style`, `lines`, `right` (share of what it claims that is true) and `covered` (share of the facts it states)."""
    lines = [read_line(line) for line in completion.splitlines() if line.strip()]
    claims = [claim for line in lines for claim in line.claims]
    right = [claim for claim in claims if claim in facts]
    kinds = Counter(line.kind for line in lines)
    style, count = kinds.most_common(1)[0] if kinds else ("other", 0)
    if min(kinds["questions"], kinds["reversed questions"]) >= len(lines) / 4 > 0:
        style = "questions both ways"
    elif count < len(lines) / 2:
        style = "mixed"
    return {
        "style": style,
        "lines": float(len(lines)),
        "right": len(right) / len(claims) if claims else 0.0,
        "covered": len(set(right)) / len(facts),
    }
