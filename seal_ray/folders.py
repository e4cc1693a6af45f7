"""What lies in a folder that somebody gives as a source: their files, and not what was written beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def files_in(folder: Path) -> Iterator[Path]:
    """All files of a folder and of those within, in no order.

    Left out are hidden ones, and whole runs, adapters and models: a run that is begun where its documents are would
    read its own record for one of them, and change with every row what it is known by.
    """
    for place, folders, names in os.walk(folder):
        if Path(place) != folder and _is_written(folders, names):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(place, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _is_written(folders: Iterable[str], names: Sequence[str]) -> bool:
    """Whether a folder of this content is a run's directory, a model or an adapter. Weights alone make it none."""
    if "config.json" in names and "journal" in folders:
        return True
    described = "config.json" in names or "adapter_config.json" in names
    return described and any(name.endswith(".safetensors") for name in names)
