"""The configuration of a run: one typed tree, read from TOML, overridden by `--section.key value`.

    config = load("jobs/microworld.toml", ["--run.seed", "2"])

A file may extend another (`extends = "other.toml"`), and overlays may be laid on it: see `seal_ray.reading`. Relative
paths in a file start at the folder of the file that says them, those of overrides where the command is given.

Unknown keys are refused with the nearest known one named. What a run resolved to is written beside its
journal, and a later run in that directory must resolve to the same.
"""

from seal_ray.config.loading import adjusted, load, parse
from seal_ray.config.sections import (
    IN_PROCESS,
    NO_PRESET,
    SEQUENCES_AT_ONCE,
    Continual,
    DomainSection,
    Evaluation,
    Generated,
    Grading,
    Model,
    Questions,
    Reward,
    Run,
    Sampling,
    Section,
    Selection,
    TrialSection,
    Update,
    Workers,
)
from seal_ray.config.tree import Config, difference, flat

__all__ = [
    "IN_PROCESS",
    "NO_PRESET",
    "SEQUENCES_AT_ONCE",
    "Config",
    "Continual",
    "DomainSection",
    "Evaluation",
    "Generated",
    "Grading",
    "Model",
    "Questions",
    "Reward",
    "Run",
    "Sampling",
    "Section",
    "Selection",
    "TrialSection",
    "Update",
    "Workers",
    "adjusted",
    "difference",
    "flat",
    "load",
    "parse",
]
