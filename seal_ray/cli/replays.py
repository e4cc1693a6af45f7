"""Parts of a run held to rounds that are on record: graders, and the race."""

from __future__ import annotations

from seal_ray.cli.options import AsJson
from seal_ray.cli.output import facts
from seal_ray.types import UserError


def grade(
    *, records: str, grader: str = "offline", model: str = "", passages: int = 0, as_json: AsJson = False
) -> None:
    """Hold a grader to recorded verdicts: how often it agrees, beyond chance, and how far rewards shift.

    Parameters
    ----------
    records
        A recorded round, with answers and verdicts.
    grader
        As grading.name says it.
    model
        A model's folder, file or hub name, for the grader "local judge": would it do as a judge?
    passages
        Only the first so many; 0: all.
    """
    from seal_ray.observe.progress import start_log
    from seal_ray.ops.judged import agreement_of

    start_log()
    facts(agreement_of(records, grader, model, passages), as_json)


def race(*, records: str = "", simulate: bool = False, as_json: AsJson = False) -> None:
    """What racing saves: on a recorded round's trials, or on simulated ones whose true rewards are known.

    Parameters
    ----------
    records
        A recorded round: what it would have tried, and what it would have given up.
    simulate
        Tasks with the recorded noise: true gain kept with 5 candidates and 15 trials, and with 16 and 48.
    """
    from seal_ray.selection.race_trials import recorded_rewards, replay, simulations

    if bool(records) == simulate:
        raise UserError("give either --records FILE or --simulate")
    facts(simulations() if simulate else replay(recorded_rewards(records)), as_json)
