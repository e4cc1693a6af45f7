"""`python -m benchmarks`: the commands that measure, of which `--help` has a list."""

from __future__ import annotations

import sys

from benchmarks.commands import speed, worth  # noqa: F401 - which name their commands
from benchmarks.commands.bench import bench
from seal_ray.errors import said_in_one_line

if __name__ == "__main__":
    with said_in_one_line(sys.argv[1:]) as arguments:
        bench(arguments)
