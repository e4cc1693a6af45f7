"""A model in a single GGUF file: converted once on each machine into a folder, which is then a model like any other.

The reading is Transformers' own. It takes torch and a while, so it is done in a process of its own (`conversion`): the
driver, which looks at a model before any worker does, imports no torch. Numbers are kept in float32, which holds every
dequantised one as it is; so a run in any precision rounds them once, and all runs share one folder.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from seal_ray.model import cache, fingerprint
from seal_ray.plain import one_line
from seal_ray.types import UserError, content_key

logger = logging.getLogger(__name__)

REFUSED = 2
"""Exit code of a conversion that says in one line why this file cannot be a base."""
_MAGIC = b"GGUF"
_READERS = ("transformers", "gguf")


def is_gguf(path: str) -> bool:
    """Whether a path says of itself that it is such a file."""
    return path.lower().endswith(".gguf")


def checked(path: str, file: Path) -> Path:
    """A file that at least begins as GGUF; `UserError` names what `model.path` says instead."""
    try:
        with file.open("rb") as content:
            begins = content.read(len(_MAGIC))
    except OSError as error:
        raise UserError(f"model.path {path!r} cannot be read: {error.strerror or error}") from None
    if begins != _MAGIC:
        raise UserError(f"model.path {path!r} is no GGUF file, whatever its name says: it begins with {begins!r}")
    return file


def converted(path: str) -> Path:
    """The folder of what a GGUF file on this machine holds. The first to ask converts it, the others wait."""
    file = checked(path, Path(path))
    readers = map(version, _READERS)  # another one may read it otherwise
    key = content_key("gguf", fingerprint.of_file(file), *readers)
    return cache.once(key, lambda folder: _convert(path, file, folder))


def _convert(path: str, file: Path, folder: Path) -> None:
    size = file.stat().st_size
    logger.warning(
        "%s is converted for Transformers, once on this machine (%.1f GB; a minute, or a few for a large one)",
        path,
        size / 1e9,
    )
    command = [sys.executable, "-m", "seal_ray.model.conversion", str(file), str(folder)]
    quiet = {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | quiet)
    if not done.returncode:
        logger.warning("%s is converted: %s", path, folder.with_suffix(""))
        return
    said = (done.stdout if done.returncode == REFUSED else done.stderr).strip().splitlines() or ["it said nothing"]
    reason = one_line(said[-1])
    if done.returncode < 0:
        reason = f"the process was ended by signal {-done.returncode}, most likely for want of memory"
    raise UserError(f"model.path {path!r}: {reason}")
