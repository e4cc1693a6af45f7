"""Which base model a config means, checked before anything is started. No torch here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from seal_ray.types import UserError

SHIPPED = ("microworld", "arcworld")
"""Small bases that come with the package, named by their domain."""


def resolve(path: str) -> str:
    """A shipped base's folder, a checked local folder, or a hub name as given."""
    if path in SHIPPED:
        return str(files("seal_ray.domains") / path / "base")
    local = Path(path).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise UserError(f"model.path {path!r} is no model: the folder has no config.json")
        if not any(local.glob("*.safetensors")):
            raise UserError(f"model.path {path!r} has no *.safetensors weights; other formats are not loaded")
        return str(local.absolute())
    if local.exists() or path.startswith(("/", "./", "../", "~")) or path.count("/") > 1:
        raise UserError(f"model.path {path!r} is neither a model folder nor a hub name (org/model)")
    return path
