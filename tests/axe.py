"""axe-core, which finds what keeps people from using a page; `make browser` fetches it, where there is npm.

    python -m tests.axe

It comes from the npm registry (MPL-2.0) through npm, its checksum pinned, and lies in this user's cache.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest

from seal_ray.model import cache

PACKAGE, INSIDE = "axe-core@4.14.1", "package/axe.min.js"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
SERIOUS = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => each.id + ': ' + each.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(' | ')))"""
"""An expression for a page in which axe was evaluated: what is serious or worse, in words."""


def place() -> Path:
    """Where the script is once it was fetched."""
    return cache.home() / "axe" / f"{PACKAGE}.js"


@pytest.fixture(scope="session")
def axe() -> str:
    """The script's text; tests that need it are skipped where it was not fetched."""
    if not place().is_file():
        pytest.skip("axe-core was not fetched: make browser does, where there is npm")
    return place().read_text(encoding="utf-8")


def fetch(file: Path) -> None:
    """Have the file there, as it was when the tests were written."""
    if file.is_file() and sha256(file.read_bytes()).hexdigest() == SHA256:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, PACKAGE], check=True, cwd=folder)
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            content = archive.extractfile(INSIDE)
            data = content.read() if content else b""
        if (found := sha256(data).hexdigest()) != SHA256:
            sys.exit(f"{PACKAGE}: {INSIDE} is another file than the tests know (SHA-256 {found})")
        part = Path(folder) / "axe.js"
        part.write_bytes(data)
        part.replace(file)


if __name__ == "__main__":
    fetch(place())
    print(place())
