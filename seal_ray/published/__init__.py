"""Recorded rounds of the published results: read, checked against their own statistics, carried over."""

from seal_ray.published.read import Completion, Passage, Record, Verdict, read_record
from seal_ray.published.stats import kept_rows, overall_stats, passage_stats

__all__ = [
    "Completion",
    "Passage",
    "Record",
    "Verdict",
    "kept_rows",
    "overall_stats",
    "passage_stats",
    "read_record",
]
