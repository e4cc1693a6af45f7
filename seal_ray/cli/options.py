"""Options that several commands of `seal-ray` have."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, help="Settings, as `--section.key value`.")]
Overlays = Annotated[
    tuple[str, ...],
    Parameter(name="--overlay", negative="", help="A TOML file whose settings replace the config's; may be repeated."),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print one JSON object.")]
Quiet = Annotated[bool, Parameter(help="No progress.")]
