"""Where pictures of a run are shown: drawn over each other on a terminal, as lines of what is new elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from seal_ray.looking.picture import Picture, news


def shown(pictures: Iterable[Picture], console: Console | None = None) -> None:
    """Show each as it comes; the last one stays, whole."""
    console = console or Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        _drawn(pictures, console)
    else:
        _said(pictures, console)


def _drawn(pictures: Iterable[Picture], console: Console) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for picture in pictures:
            live.update(_text(picture), refresh=True)
        live.vertical_overflow = "visible"


def _said(pictures: Iterable[Picture], console: Console) -> None:
    before: Picture | None = None
    for picture in pictures:
        for line in news(before, picture):
            console.print(f"{time.strftime('%H:%M:%S')} {line}", markup=False)
        before = picture
    if before:
        console.print(_text(before))


def _text(picture: Picture) -> Text:
    return Text("\n".join(picture.lines()), no_wrap=True, overflow="ellipsis")
