"""Weights in pieces that go through a narrow door: a model's files are split here, and joined again there."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from seal_ray.model import cache
from seal_ray.model.gguf import converted, is_gguf
from seal_ray.model.locate import resolve
from seal_ray.types import UserError, content_key

MOST = 50_000_000
"""Bytes of a piece."""
SUMS = "SHA256SUMS"
"""Where the hash of each piece stands, as `sha256sum` writes it."""
_PIECE = re.compile(r"(.+)\.part(\d{2,})")


def split(source: Path, into: Path, most: int = MOST) -> list[str]:
    """Cut a file, or every file of a folder that is larger, into pieces; the names of what was written."""
    files = sorted(file for file in source.iterdir() if file.is_file()) if source.is_dir() else [source]
    if not files or not source.exists():
        raise UserError(f"--split {str(source)!r}: there is nothing to split; name a file, or a model's folder")
    if into.exists() and any(into.iterdir()):
        raise UserError(f"--into {str(into)!r}: the folder is not empty; name another")
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for file in files:
        if file.stat().st_size <= most:
            shutil.copyfile(file, into / file.name)
            written.append(file.name)
            continue
        with file.open("rb") as whole:
            for number, part in enumerate(iter(lambda: whole.read(most), b"")):
                written.append(f"{file.name}.part{number:02}")
                (into / written[-1]).write_bytes(part)
    sums = [f"{_hash(into / name)}  {name}\n" for name in written]
    (into / SUMS).write_text("".join(sums), encoding="utf-8")
    return [*written, SUMS]


def as_folder(path: str) -> Path:
    """The folder that a GGUF file is converted into, for a machine that cannot read such files."""
    try:
        return converted(resolve(path))
    except ModuleNotFoundError as error:  # the metadata of a package that is not there is not found either
        raise UserError(
            f"{path}: a GGUF file is read with the package {error.name}, which is not installed here; where it is, "
            "`python -m benchmarks.gpu_check --convert --split FILE --into FOLDER` makes a folder of it"
        ) from None


def found(path: str) -> str:
    """The folder of a model that is given as such, as a GGUF file, or as a folder of pieces of either."""
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"--model {path!r}: there is no such folder or file")
    if place.is_dir() and any(_PIECE.fullmatch(file.name) for file in place.iterdir()):
        place = _joined(place)
    return str(as_folder(str(place))) if is_gguf(str(place)) else resolve(str(place.absolute()))


def _joined(folder: Path) -> Path:
    """What a folder of pieces makes, joined once on this machine: a folder, or the GGUF file that is alone in it."""
    sums = _sums(folder)
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name != SUMS]
    pieces = _pieces(folder, {file.name for file in files} | sums.keys())
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def join(whole: Path) -> None:
        _check(folder, pieces, sums)
        for name, parts in pieces.items():
            with (whole / name).open("wb") as target:
                for part in parts:
                    with (folder / part).open("rb") as source:
                        shutil.copyfileobj(source, target)

    made = cache.once(content_key("joined", str(folder.absolute()), states, sums), join)
    inside = [file for file in made.iterdir() if is_gguf(file.name)]
    return inside[0] if len(inside) == 1 and not (made / "config.json").exists() else made


def _sums(folder: Path) -> dict[str, str]:
    """The hash of each piece, where they lie beside it."""
    if not (file := folder / SUMS).is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {line[1].lstrip("*"): line[0] for line in lines if len(line) == 2}


def _pieces(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """The pieces of each file in their order; a file that is whole is its own."""
    numbers: dict[str, dict[int, str]] = {}
    for name in sorted(names):
        match = _PIECE.fullmatch(name)
        numbers.setdefault(match[1] if match else name, {})[int(match[2]) if match else 0] = name
    for whole, parts in numbers.items():
        lacking = min(set(range(max(parts) + 1)) - parts.keys(), default=None)
        if lacking is not None:
            raise UserError(f"{folder / f'{whole}.part{lacking:02}'}: the piece is missing; copy it there too")
    return {whole: [parts[number] for number in sorted(parts)] for whole, parts in numbers.items()}


def _check(folder: Path, pieces: dict[str, list[str]], sums: dict[str, str]) -> None:
    """Every piece is there and whole, as far as their hashes, or else their sizes, tell."""
    for parts in pieces.values():
        for part in parts:
            place = folder / part
            if not place.is_file():
                raise UserError(f"{place}: the piece is missing; copy it there too")
            size, first = place.stat().st_size, (folder / parts[0]).stat().st_size
            if (part in sums and _hash(place) != sums[part]) or size > first or (size < first and part != parts[-1]):
                raise UserError(f"{place}: the piece is cut short or damaged ({size:,} bytes); copy it again")


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
