"""Commands as pages of the documentation show them, and whether what they print is what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "cluster/README.md"])
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_PROGRAMS = "seal-ray|python|make|ray|pip|export|kubectl|helm|docker|gcloud|aws|sed|kill|ls"
_LEFT_OUT = "…"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Step:
    """A command, and what a page says that it prints."""

    page: str
    number: int
    command: str
    shown: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number}: {self.command[:60]}"


def steps(page: Path) -> list[Step]:
    """The commands of a page's console blocks, in order."""
    found: list[Step] = []
    for kind, text in _BLOCK.findall(page.read_text()):
        for part in re.split(r"^\$ ", text, flags=re.M)[1:] if kind == "console" else ():
            command, *shown = part.rstrip("\n").split("\n")
            found.append(Step(page.name, len(found) + 1, command, tuple(shown)))
    return found


def files(page: Path) -> dict[str, str]:
    """The files that a page has one write: blocks whose first line is `# NAME`."""
    texts = [text for _, text in _BLOCK.findall(page.read_text())]
    return {named[1]: text for text in texts if (named := re.match(r"# (\S+\.\w+)\n", text))}


def commands(page: Path) -> Iterator[str]:
    """Every command of a page's blocks, without its comment; one that goes on over several lines as one."""
    for kind, text in _BLOCK.findall(page.read_text()):
        for line in text.replace("\\\n", " ").splitlines() if kind in ("", "bash", "console") else ():
            if re.match(rf"(\$ )?({_PROGRAMS})\b", line):
                yield re.sub(r"\s{2,}#.*", "", line.removeprefix("$ ")).strip()


def unlike(shown: Sequence[str], printed: str) -> str:
    """The first line of what is shown that is not printed after those before it; empty when all are.

    A line `…` stands for any number of lines; within a line, and at its ends, `…` and blanks stand for any text, and
    lines of dashes of a table are left to it.
    """
    lines = [line.rstrip() for line in _COLOUR.sub("", printed).splitlines() if line.strip()]
    at, anywhere = 0, False
    for line in (line.rstrip() for line in shown if line.strip()):
        if line == _LEFT_OUT:
            anywhere = True
            continue
        parts = [re.escape(part) for part in re.split(rf"\s*{_LEFT_OUT}\s*", line)]
        pattern = re.compile(re.sub(r"(\\?\s)+", r"\\s+", r".*?".join(parts)))
        end = len(lines) if anywhere else at + 1
        place = next((n for n in range(at, min(end, len(lines))) if pattern.fullmatch(lines[n])), None)
        if place is None:
            return line
        at, anywhere = place + 1, False
    left = lines[at:]
    return f"not shown: {left[0]}" if left and not anywhere else ""
