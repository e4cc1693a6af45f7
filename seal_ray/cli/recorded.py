"""What is on record of runs: told, shown, mended, or brought from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from seal_ray.cli.learning import tell
from seal_ray.cli.options import AsJson, Quiet
from seal_ray.cli.output import lines, report_page, say, show
from seal_ray.plain import visible
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.record.summary import Interval


_NAMED = 3
"""So many differences are named; `seal-ray compare` names all."""


def evaluate(
    dir: str,
    *others: str,
    over: str = "",
    grader: str = "",
    oracle: bool = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show a run's held-out accuracy per baseline and round, with 95 % intervals.

    Parameters
    ----------
    others
        Runs of other seeds; the tasks of all are taken together, each task once.
    over
        A baseline or round, such as "passage only", or a way to learn in turn: also show by how much the others are
        above it, task by task.
    grader
        Grade the answers on record by another: exact, f1, offline, or your own as package.module:Thing.
    oracle
        Where self-edits are decisions: also try all of them on the held-out tasks, and show the best. This takes long.
    """
    from seal_ray.domains.registry import learns
    from seal_ray.looking.over import over as over_all
    from seal_ray.looking.regraded import regraded
    from seal_ray.record.account import known_here
    from seal_ray.record.journal import Journal
    from seal_ray.record.storage import Store
    from seal_ray.record.summary import measured, refuse_void, synthetic, together
    from seal_ray.rundir.directory import has_rows
    from seal_ray.rundir.tuned import config_of_run

    every = (dir, *others)
    configs = [config_of_run(each) for each in every]
    if not others and learns(configs[0]):
        if over or grader or oracle:
            raise UserError(f"{dir}: documents were learnt here; --over, --grader and --oracle are for runs")
        tell(dir, known := known_here(dir), as_json)
        if not as_json and (answers := known.answers()):
            lines(map(visible, answers))
        return
    if oracle and (others or grader):
        raise UserError(
            "--oracle searches one run's tasks at a time, as they were graded: give one directory, no --grader"
        )
    _refuse_twice([config.run.seed for config in configs])
    journals = [Journal(Store(each)) for each in every]
    graded = [regraded(*run, grader) if grader else None for run in zip(configs, journals, strict=True)]
    found = [measured(*pair) for pair in zip(journals, graded, strict=True)]
    summary = together(found, [synthetic(journal) for journal in journals])
    if oracle:
        summary |= _ceiling(dir, quiet)
    show(summary, as_json, *every, over=over_all(over, found, journals) if over else None)
    _say_what_is_mixed(dir, others)
    for each in every:
        if not has_rows(Store(each)):
            say(f"{each}: nothing is on record yet; `seal-ray resume {quote(each)}` goes on with it")
    refuse_void(summary)


def _ceiling(dir: str, quiet: bool) -> dict[str, Interval]:
    """The best decisions, which are searched for and said, as further arms."""
    from seal_ray.loop.oracle import oracle
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    found = oracle(dir, progress(quiet))
    for line in found.lines():
        say(line)
    return found.arms()


def _refuse_twice(seeds: Sequence[int]) -> None:
    """Runs of one seed are measured on the same tasks, which would count twice."""
    if twice := {seed for seed in seeds if seeds.count(seed) > 1}:
        raise UserError(
            f"more than one of these runs has seed {min(twice)}, and runs of one seed are measured on the same tasks, "
            "which would count twice; give runs of different seeds, or one run at a time"
        )


def _say_what_is_mixed(dir: str, others: Sequence[str]) -> None:
    """Figures over runs of one config say what it does; over runs of several, nobody knows what."""
    from seal_ray.rundir.directory import begun, but_the_seed

    first = begun(dir)
    for each in others:
        other = begun(each)
        if not first or not other or first.whole != other.whole:  # 0.1.0 did not write contents down
            continue
        if differs := but_the_seed(first.unlike(other.identity)):
            more = f" and {len(differs) - _NAMED} more" if len(differs) > _NAMED else ""
            named = "; ".join(differs[:_NAMED])
            say(f"{each}: not {dir} with another seed, so these figures mix what differs: {named}{more}")


def report(dir: str) -> None:
    """Write the report of a run: one self-contained HTML page."""
    print(report_page(dir))


def repair(dir: str) -> None:
    """Set aside what is damaged in a run's record. Nothing is deleted; continuing the run does again what is lost."""
    from contextlib import closing

    from seal_ray.policy.repair import repair_policies
    from seal_ray.record import repair as repairing
    from seal_ray.record.manifest import FOLDER
    from seal_ray.record.storage import Store

    store = Store(dir)
    if not store.exists(FOLDER):
        raise UserError(f"{dir}: no journal is here")
    with closing(store.lock()):
        said = repairing.repair(store) + repair_policies(store)
    for line in said:
        print(line)
    print(f"`seal-ray resume {quote(dir)}` does again what is lost" if said else "nothing is damaged")


def import_(record: str, *, into: str) -> None:
    """Carry a recorded round of the published results into a run directory of its own."""
    from seal_ray.published.import_record import import_record

    say(f"{import_record(record, into)} self-edits are in {into}")
