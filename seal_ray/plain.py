"""Text that others wrote, made fit to be kept and to be shown: a model, a server or a file may hold anything."""

from __future__ import annotations

import json
import re
from textwrap import wrap
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
"""Control characters but newline and tab; marks that reverse or hide the text around them; line separators; and halves
of characters, which no file can hold."""
_THOUGHT = re.compile(r".*</think(?:ing)?>", re.I | re.S)
SHOWN = 300
WIDTH = 80
"""Where lines end that no terminal is known to show."""


def counted(number: float, what: str) -> str:
    """So many of a thing whose plural ends in s."""
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"


def kept(text: str) -> str:
    """The text as every file can hold it: halves of characters become U+FFFD, all else stays."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def visible(text: str) -> str:
    """The text without anything that a terminal would obey or hide."""
    return UNSEEN.sub("", text)


def one_line(text: str, limit: int = SHOWN) -> str:
    """The start of a text on one line, without anything that a terminal would obey."""
    line = visible(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[:limit].rstrip()} …"


def broken(text: str, head: str = "", width: int = WIDTH) -> list[str]:
    """A remark after its heading, on as many lines as it takes; nothing in it that a terminal would obey."""
    remark = visible(" ".join(text.split()))
    return wrap(remark, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)


def spoken(reply: str) -> str | None:
    """What a model that thinks aloud says after that, or None where its thought has not come to an end.

    Its prompt may have opened the thought, not the reply.
    """
    said = _THOUGHT.sub("", reply)
    return None if said.lstrip().lower().startswith("<think") else said


def first_line(error: BaseException) -> str:
    """The first line of an error that says something, or its class where none does.

    pydantic's first line only counts the errors, and object storage's further ones are the address of every retry.
    """
    text = getattr(error, "strerror", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        del lines[0]
    return lines[0][:SHOWN] if lines else type(error).__name__


def decoded(text: str | bytes) -> Any:
    """What a JSON text stands for. `ValueError` for any that is none, however deep, large or long its parts are."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def first_decoded(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that begins there, and where it ends; `ValueError` as above."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deeply") from None


_DECODER = json.JSONDecoder()
