"""Run schedules of faults, and say what became of each.

    python -m tests.chaos [--only NAME ...] [--afresh] [--json]

A schedule that was survived is not run again while neither the package nor these tests have changed: what was found
is kept under build/chaos.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos import schedules
from tests.chaos.schedules import Schedule
from tests.chaos.survival import Survival

ROOT = Path(__file__).resolve().parents[2]
ENDPOINT, HEAD = "unruly endpoint", "head killed"


def code() -> str:
    """A name for what is tested and the tests of it, as they are now."""
    hashed = hashlib.sha256()
    for path in sorted([*ROOT.glob("seal_ray/**/*.py"), *ROOT.glob("tests/**/*.py"), ROOT / "jobs/microworld.toml"]):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]


def alone(wanted: Sequence[Schedule], scratch: Path) -> Iterator[tuple[Schedule, Survival]]:
    """Those in one process. It has imported all it needs and started no thread, so each run is forked from it."""
    import tests.in_process  # noqa: F401
    from tests.chaos import cut_off
    from tests.chaos.alone import begin, ended, met, served, settings_of
    from tests.runs import results

    expected: dict[tuple[bool, tuple[str, ...]], dict[str, Any]] = {}
    for schedule in wanted:
        kind = by_server, own = schedule.fault == ENDPOINT, tuple(settings_of(schedule.fault))
        if kind not in expected:
            quiet = scratch / f"quiet-alone-{len(expected)}"
            with served(by_server, 0, lambda trouble: None) as more:
                end = ended(begin(quiet, "", 0, [*more, *own]), quiet)
            if end.code:
                raise RuntimeError(f"the quiet run ended with {end.code}: {end.said}")
            expected[kind] = results(quiet)
        folder = _folder(scratch, schedule)
        if schedule.fault == "head cut off":
            yield schedule, cut_off.met(folder, expected[kind])
        else:
            yield schedule, met(folder, schedule.fault, schedule.seed, expected[kind])


def on_cluster(
    wanted: Sequence[Schedule], scratch: Path, short: bool, forked_by: tuple[str, int] | None = None
) -> Iterator[tuple[Schedule, Survival]]:
    from tests.chaos import headless
    from tests.chaos.cluster import TINY, arena, met
    from tests.runs import results

    with arena(short, forked_by) as found:
        quiet = scratch / f"quiet-cluster-{short}"
        survival = met(found, quiet, 0, (), {})
        if survival.wrong:
            raise RuntimeError(f"the quiet run: {survival.wrong}")
        expected = results(quiet)
        for schedule in [s for s in wanted if s.strikes]:
            yield schedule, met(found, _folder(scratch, schedule), schedule.seed, schedule.strikes, expected)
    for schedule in [s for s in wanted if s.fault == HEAD]:
        yield schedule, headless.met(_folder(scratch, schedule), 0.3, TINY, expected)


def _folder(scratch: Path, schedule: Schedule) -> Path:
    return scratch / schedule.name.replace(" ", "-")


def survive(
    wanted: Sequence[Schedule], kept: Path, forked_by: tuple[str, int] | None = None
) -> dict[str, dict[str, Any]]:
    """Run those of which nothing is kept; what is known of each by name. What `forked_by` is, says `forking`."""
    known = {s.name: json.loads(file.read_text()) for s in wanted if (file := kept / f"{s.name}.json").exists()}
    left = [schedule for schedule in wanted if schedule.name not in known]
    short = [s for s in left if any("memory" in strike.kinds for strike in s.strikes)]
    groups: list[tuple[Callable[..., Iterator[tuple[Schedule, Survival]]], list[Schedule], tuple[Any, ...]]] = [
        (alone, [s for s in left if s.where == "alone"], ()),
        (on_cluster, [s for s in left if s.where == "cluster" and s not in short], (False, forked_by)),
        (on_cluster, short, (True, forked_by)),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for run, some, more in groups:
            if not some:
                continue
            for schedule, survival in run(some, Path(scratch), *more):
                known[schedule.name] = survival.as_json()
                print(_line(schedule.name, known[schedule.name]), file=sys.stderr, flush=True)
                if not survival.wrong:
                    (kept / f"{schedule.name}.json").write_text(json.dumps(known[schedule.name]))
    return {schedule.name: known[schedule.name] for schedule in wanted}


def _line(name: str, found: dict[str, Any]) -> str:
    how = "; ".join(found["wrong"]) or "survived"
    met = ", ".join(f"{what} x {times}" if times > 1 else what for what, times in Counter(found["met"]).items())
    twice = f"{found['again']} rows done twice, the oldest {found['oldest']:.2f} s before its driver's end"
    return f"{name}: {how} ({found['seconds']:.0f} s; met {met or 'nothing'}; {twice})"


def table(found: dict[str, Any]) -> str:
    recoveries = sorted(seconds for each in found.values() for seconds in each["recoveries"]) or [0.0]
    fine = sum(not each["wrong"] for each in found.values())
    lines = [
        f"| schedules that ended with the quiet run's journal | {fine} of {len(found)} |",
        "|---|---|",
        f"| rows done twice | {sum(each['again'] for each in found.values())} |",
        f"| seconds before its driver's end that the oldest of these was done | "
        f"{max(each['oldest'] for each in found.values()):.2f} |",
        f"| on the cluster, seconds until the next row is on disk | median {statistics.median(recoveries):.0f}, "
        f"longest {recoveries[-1]:.0f} |",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", help="names of schedules; without, all")
    parser.add_argument("--afresh", action="store_true", help="run also what was survived before")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    wanted = [s for s in schedules.ALL if options.only is None or s.name in options.only]
    kept = ROOT / "build/chaos" / code()
    kept.mkdir(parents=True, exist_ok=True)
    if options.afresh:
        for schedule in wanted:
            (kept / f"{schedule.name}.json").unlink(missing_ok=True)
    found = survive(wanted, kept)
    print(json.dumps(found) if options.json else table(found))
    return 1 if any(each["wrong"] for each in found.values()) else 0


if __name__ == "__main__":
    from tests.chaos import __main__ as chaos  # workers import it by this name

    sys.exit(chaos.main(sys.argv[1:]))
