"""The program that the commands belong to, and how each says what it found."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from cyclopts import App

bench = App(
    name="python -m benchmarks", help="Measure how fast this machine does what a run does.", help_format="plaintext"
)


def tell(found: Any, said: str, as_json: bool) -> None:
    """Print what was found, which is made of dataclasses, as one line of JSON, or in words."""
    print(json.dumps(found, default=asdict) if as_json else said, flush=True)
