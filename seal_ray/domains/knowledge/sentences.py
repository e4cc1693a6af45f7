"""The sentences of a passage as one would say them, without what only lays them out.

Lines that were broken to fit a page are joined; the items of a list lose their marks; a row of a table says what its
columns are called. Code stays line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

ENDS = re.compile(r"(?<=[.!?…।॥؟。！？])\s+|(?<=[。！？])")
"""Where one sentence ends and the next begins."""
_FENCE = re.compile(r"\s*(`{3,}+(?!.*`)|~{3,})\s*(\S?)")
"""A line at which code may begin or end; what is between such marks on one line is in a sentence."""
ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|>)\s+")
_ROW = re.compile(r"\s*\|.*\|\s*")
_RULE = re.compile(r"[\s|:=+_*-]{3,}")
_CELLS = re.compile(r"(?<!\\)\|")
NARROW = 40
"""Characters; lines no longer than this are a list or a verse, not a page's."""


class Fences:
    """Where code begins and ends, line after line: at as many of the same marks, or more, with nothing behind them.

    Marks of the other kind, or fewer, are part of the code, as in a text about Markdown.
    """

    def __init__(self) -> None:
        self._begun = ""

    @property
    def within(self) -> bool:
        """Whether the next line is code, or ends it."""
        return bool(self._begun)

    def at(self, line: str) -> bool:
        """Whether code begins or ends at this line, the next of the text."""
        found = _FENCE.match(line)
        if not found or (self._begun and (found[2] or not found[1].startswith(self._begun))):
            return False
        self._begun = "" if self._begun else found[1]
        return True


def sentences(text: str) -> list[str]:
    """The sentences of a text, items of lists and rows of tables among them."""
    return [part.strip() for said in _said(text) for part in ENDS.split(said) if part.strip()]


def reflowed(paragraph: str) -> str:
    """The paragraph without the breaks that only fit it to a page."""
    if any(map(Fences().at, paragraph.splitlines())):
        return paragraph
    return "\n".join(line for block, _ in _blocks(paragraph) for line in _joined(block))


def _said(text: str) -> Iterator[str]:
    for block, is_code in _blocks(text):
        if is_code:
            yield from block
        elif _ROW.fullmatch(block[0]):
            yield from _rows(block)
        else:
            first, *rest = _joined(block)
            yield from (ITEM.sub("", first), *rest)


def _blocks(text: str) -> Iterator[tuple[list[str], bool]]:
    """Lines that belong together, a paragraph, an item of a list or a table; and whether they are code."""
    held: list[str] = []
    fences = Fences()
    for line in [*text.splitlines(), ""]:
        fenced, fence = fences.within, fences.at(line)
        row = bool(_ROW.fullmatch(line))
        apart = fenced or fence or not line.strip() or (not row and (ITEM.match(line) or _RULE.fullmatch(line)))
        if held and (apart or row != bool(_ROW.fullmatch(held[0]))):
            yield held, False
            held = []
        if fence or not line.strip() or (not row and not fenced and _RULE.fullmatch(line)):
            continue
        if fenced:
            yield [line], True
        else:
            held.append(line)


def _joined(lines: Sequence[str]) -> list[str]:
    """One line of those that were broken to the width of a page: each ends where the next word had no room."""
    width = max(map(len, lines))
    if width <= NARROW or _ROW.fullmatch(lines[0]):
        return list(lines)
    broken = all(len(line.rstrip()) + 1 + len(after.split()[0]) > width for line, after in pairwise(lines))
    return [" ".join(map(str.strip, lines))] if broken else list(lines)


def _rows(lines: Sequence[str]) -> Iterator[str]:
    """Each row of a table as a sentence: its first cell, then the others with the names of their columns."""
    rows = [[cell.strip() for cell in _CELLS.split(line.strip().strip("|"))] for line in lines]
    ruled = len(lines) > 1 and bool(_RULE.fullmatch(lines[1]))
    names = rows[0] if ruled and len(rows[0]) > 2 else []
    for cells in rows[2:] if ruled else rows:
        first, *rest = cells
        named = names[1:] if len(names) == len(cells) else [""] * len(rest)
        said = ", ".join(f"{name} {cell}".strip() for name, cell in zip(named, rest, strict=True) if cell)
        if any(cells):
            yield f"{first}: {said}" if first and said else first or said
