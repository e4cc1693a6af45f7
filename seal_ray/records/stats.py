"""The published statistics, computed anew from recorded verdicts, to the digit.

The published numbers round on the way: a trial's accuracy and its gain to four digits, and again
what is reported of a passage or a round. Deviations are sample deviations, 0 for a single value.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from seal_ray.records.read import Completion, Passage, Record, Verdict
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

    A record without verdicts holds what was kept already and gives its first completions.
    """
    return [
        {"prompt": passage.prompt, "completion": passage.completions[best_index(passage)].text}
        for passage in record.passages
    ]


def best_index(passage: Passage) -> int:
    """Which completion a passage keeps; among equal rewards the first sampled."""
    if not passage.completions or not passage.completions[0].verdicts:
        return 0
    # Rounded, so that sums in another order do not break a tie.
    rewards = [round(completion_stats(completion)["adapter_mean"], 9) for completion in passage.completions]
    return rewards.index(max(rewards))


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
