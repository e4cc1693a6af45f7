"""A process that can import torch, transformers, peft, numpy, pyarrow, safetensors and what these need, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

NEEDED = ("torch", "transformers", "peft", "numpy", "pyarrow", "safetensors")

_BLOCKING = """
import sys

blocked = set(sys.argv[1].split(","))

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""

_NOTHING_ELSE = """
loaded = blocked & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
"""


def run_bare(script: str, *arguments: str) -> str:
    """What a script prints that can import nothing else; its arguments are `sys.argv[2:]`."""
    others = elsewhere()
    assert {"ray", "cyclopts", "pydantic", "obstore"} <= set(others)
    code = _BLOCKING + script + _NOTHING_ELSE
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(others), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def elsewhere() -> list[str]:
    """Every module that can be imported here and is of a distribution that is not needed."""
    needed = needed_by(NEEDED)
    others = [
        module
        for module, owners in packages_distributions().items()
        if not needed & {owner.lower().replace("_", "-") for owner in owners} and module != "seal_ray"
    ]
    return [*others, "pydantic", "annotated_types"]  # which a dependency may name and not import


def needed_by(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require, without extras."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop().lower().replace("_", "-")) in found:
            continue
        try:
            asked = [Requirement(each) for each in requires(name) or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
        left += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found
