"""The published statistics, computed again from recorded verdicts, to the digit.

The published numbers round on the way: a trial's accuracy and its gain to four digits, and again
what is reported of a passage or a round. Deviations are sample deviations, 0 for a single value.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from seal_ray.published.read import Completion, Passage, Record, Verdict
from seal_ray.types import UserError

_DIGITS = 4


def completion_stats(completion: Completion) -> dict[str, float]:
    """Mean and spread over a self-edit's trials, without and with the adapter."""
    trials: dict[int, list[Verdict]] = {}
    for row in completion.verdicts:
        trials.setdefault(row.rep, []).append(row)
    raw = [
        (mean(row.baseline_correct for row in rows), mean(row.adapter_correct for row in rows))
        for rows in trials.values()
    ]
    baseline = [round(before, _DIGITS) for before, _ in raw]
    adapter = [round(after, _DIGITS) for _, after in raw]
    return {
        "baseline_mean": mean(baseline),
        "baseline_std": _spread(baseline),
        "adapter_mean": mean(adapter),
        "adapter_std": _spread(adapter),
        "gain_mean": mean(round(after - before, _DIGITS) for before, after in raw),
    }


def passage_stats(passage: Passage) -> dict[str, float]:
    """The `stats` block of a passage."""
    return _rounded(_passage_means(passage))


def overall_stats(record: Record) -> dict[str, float]:
    """The `overall` block of a round."""
    if not record.ranked:
        raise UserError("this record holds no verdicts; statistics need a ranked or evaluated round")
    each = [_passage_means(passage) for passage in record.passages]
    baseline = [means["baseline_accuracy"] for means in each]
    adapter = [means["adapter_mean_accuracy"] for means in each]
    blocks = {
        "baseline_mean_accuracy": mean(baseline),
        "baseline_std_of_article_means": _spread(baseline),
        "adapter_mean_accuracy": mean(adapter),
        "adapter_std_of_article_means": _spread(adapter),
        "mean_adapter_std_over_completions": mean(means["adapter_std_over_completions"] for means in each),
        "mean_adapter_std_within_completions": mean(means["mean_adapter_std_within_completions"] for means in each),
        "mean_gain": mean(means["mean_gain"] for means in each),
    }
    return _rounded(blocks)


def kept_rows(record: Record) -> list[dict[str, str]]:
    """The self-edit kept for each passage as a `prompt`/`completion` row: the highest mean reward, first of equals.

    `UserError` for a passage of several completions that says nothing to choose among them by.
    """
    rows = []
    for passage in record.passages:
        index = best_index(passage)
        if index is None:
            raise UserError(
                f"{passage.title or passage.prompt[:60]!r}: {len(passage.completions)} self-edits without verdicts or "
                "statistics, so none is best; give a ranked round"
            )
        rows.append({"prompt": passage.prompt, "completion": passage.completions[index].text})
    return rows


def best_index(passage: Passage) -> int | None:
    """Which completion a passage keeps, among equal rewards the first sampled; None where nothing says which."""
    if len(passage.completions) == 1:
        return 0  # a record of what was kept already
    found = [recorded_reward(completion) for completion in passage.completions]
    # Rounded, so that sums in another order do not break a tie.
    rewards = [round(reward, 9) for reward in found if reward is not None]
    if rewards and len(rewards) < len(found):
        where = f"self-edit {found.index(None)} of {passage.title!r}"
        raise UserError(f"{where} has neither verdicts nor statistics, and others have; nothing can be chosen by them")
    return rewards.index(max(rewards)) if rewards else None


def recorded_reward(completion: Completion) -> float | None:
    """The mean accuracy with the adapter: from the verdicts, or as it was recorded where those are missing."""
    if completion.verdicts:
        return completion_stats(completion)["adapter_mean"]
    recorded = completion.stats.get("adapter_mean")
    if recorded is not None and not (isinstance(recorded, int | float) and 0 <= recorded <= 1):
        raise UserError(f"a recorded adapter_mean of {recorded} is no accuracy")
    return recorded


def _passage_means(passage: Passage) -> dict[str, float]:
    each = [completion_stats(completion) for completion in passage.completions]
    adapter = [stats["adapter_mean"] for stats in each]
    return {
        "baseline_accuracy": mean(stats["baseline_mean"] for stats in each),
        "adapter_mean_accuracy": mean(adapter),
        "adapter_std_over_completions": _spread(adapter),
        "mean_adapter_std_within_completions": mean(stats["adapter_std"] for stats in each),
        "mean_gain": mean(stats["gain_mean"] for stats in each),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in values.items()}


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
