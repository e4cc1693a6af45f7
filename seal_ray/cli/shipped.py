"""The jobs that ship with the package: in a wheel they lie inside it, in a checkout beside it."""

from __future__ import annotations

import difflib
from pathlib import Path

from seal_ray.reading import file_layers
from seal_ray.types import UserError

_PACKAGE = Path(__file__).parents[1]
_ONLY_HERE = {"knowledge_small"}
"""Jobs that need what only a checkout has: a model that is made on the spot."""


def folder() -> Path:
    inside = _PACKAGE / "jobs"
    return inside if inside.is_dir() else _PACKAGE.parent / "jobs"


def names() -> list[str]:
    """The jobs that can be begun from anywhere."""
    return sorted(path.stem for path in folder().glob("*.toml") if path.stem not in _ONLY_HERE)


def copy(job: str, target: Path) -> list[Path]:
    """Write a job into a folder, with the files that it extends and the data it names that ship too; the job first."""
    name = job.removesuffix(".toml")
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
        raise UserError(f"unknown job {name!r}; {hint}")
    files = [Path(layer.where) for layer in reversed(file_layers(folder() / f"{name}.toml"))]
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    for data in sorted(folder().glob("*.jsonl")):
        if any(f'"{data.name}"' in text for text in texts.values()):
            texts[data.name] = data.read_text(encoding="utf-8")
    there = [target / name for name in texts if (target / name).exists()]
    if there:
        raise UserError(f"{', '.join(map(str, there))}: exists already; give another folder, or move it away")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        written = text.replace("seal-ray run jobs/", "seal-ray run " if target == Path() else f"seal-ray run {target}/")
        (target / name).write_text(written, encoding="utf-8")
    return [target / name for name in texts]
