"""The paper's experiment as a whole run, in this process: its table, and how long the device had work of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import seal_ray
from benchmarks.gpu_check.record import Record, Say
from benchmarks.gpu_check.scale import Experiment
from seal_ray.config import (
    Config,
    DomainSection,
    Evaluation,
    Grading,
    Model,
    Run,
    Sampling,
    Selection,
    TrialSection,
    Update,
    Workers,
)
from seal_ray.events import Event, StageBegan
from seal_ray.model import fingerprint
from seal_ray.record.intervals import total_length
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, SpanRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import as_json
from seal_ray.types import LoraSpec, OptimSpec, content_key

STAGES = ("sample", "trial", "update")


def experiment(size: Experiment, weights: str, data: str, dtype: str, slots: int) -> Config:
    """The experiment on SmolLM2 with the settings of `jobs/squad_small.toml`, at the size of the paper's."""
    precision: Any = dtype
    return Config(
        run=Run(name="gpu-check", rounds=size.rounds),
        model=Model(path=weights, dtype=precision, max_length=512),
        domain=_domain(size, data),
        sampling=Sampling(engine="transformers", per_task=size.candidates, max_tokens=160),
        trial=TrialSection(preset="auto", seeds=size.seeds, answer_tokens=24),
        update=Update(lora=LoraSpec(32, 64.0, ("all-linear",)), optim=OptimSpec(2e-4, 4, 4)),
        evaluation=Evaluation(baselines=("base", "passage only", "in-context")),
        grading=Grading(name="offline"),
        workers=Workers(address="in-process", slots=slots),
    )


def rehearsed(size: Experiment, weights: str, data: str, slots: int) -> Config:
    """As little as possible of the same, on random weights: they earn no reward to choose by."""
    whole, small = experiment(size, weights, data, "float32", slots), LoraSpec(4, 8.0)
    return replace(
        whole,
        sampling=replace(whole.sampling, max_tokens=12),
        trial=TrialSection(lora=small, optim=OptimSpec(1e-3, 1, 4), seeds=size.seeds, answer_tokens=4),
        selection=Selection(rule="usable"),
        update=Update(lora=small, optim=OptimSpec(1e-3, 1, 4)),
    )


def _domain(size: Experiment, data: str) -> DomainSection:
    """Half of the passages are held out: the file may be a small one."""
    options = {"train": data, "test_fraction": 0.5}
    return DomainSection(name="knowledge", options=options, train=size.passages, test=size.held_out, fresh=True)


def content(config: Config) -> str:
    """The content of the passages, wherever they lie."""
    return fingerprint.of_path(Path(config.domain.options["train"]))


def paper(record: Record, size: Experiment, config: Config, say: Say) -> None:
    """The only piece of the part. It is a run, so what was stopped goes on with the trial it was at."""
    record.piece("paper", "the experiment", partial(done, size, config, say), size, content(config))


class _Said:
    """A line for every stage that begins."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def on(self, event: Event) -> None:
        if isinstance(event, StageBegan):
            self._say(f"paper: {event.stage}, {event.total}")

    def close(self) -> None:
        return


def done(size: Experiment, config: Config, say: Say) -> dict[str, Any]:
    """Do the run, or go on with it, and take its figures from its record."""
    summary = seal_ray.run(config, _Said(say))
    journal = Journal(Store(config.dir))
    outcomes = [row for row in journal.read(OutcomeRow) if row.steps]
    spans = [(row.what, row.start, row.end) for row in journal.read(SpanRow)]
    minutes = {
        stage: total_length((start, end) for what, start, end in spans if what == stage) / 60 for stage in STAGES
    }
    return {
        "size": vars(size),
        "a_round": size.trials,
        "arms": as_json(summary),
        "trials": len(outcomes),
        "trained_tokens": sum(row.tokens for row in outcomes),
        "minutes": minutes,
        "gpu_minutes": total_length((start, end) for _, start, end in spans) / 60,
    }


def directory(folder: Path, subject: str, size: Experiment, config: Config) -> str:
    """Where the run of a check lies, so that one of something else is another run."""
    return str((folder / f"paper-{content_key(subject, size, content(config))[:8]}").absolute())
