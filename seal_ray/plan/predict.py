"""From a config and hardware to what a run will take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from seal_ray.config import Config, difference
from seal_ray.model.architecture import model_shape
from seal_ray.plan.measure import measure
from seal_ray.plan.memory import Memory, plan_memory
from seal_ray.plan.rates import Rates, gpu_named, published_assumptions, published_rates
from seal_ray.plan.rounds import Course, Devices, Losses, simulate
from seal_ray.plan.work import Edit, Seen, Work, count_work
from seal_ray.types import UserError
from seal_ray.update.base import tries_self_edits

SIZES = ("run", "domain", "selection", "evaluation", "grading", "workers")
"""Sections in which a planned run may differ from the one it is measured by."""


@dataclass(frozen=True)
class Hardware:
    """What the run is planned for; no GPU means the CPUs of this machine."""

    gpus: int = 0
    gpu: str = ""
    gpus_per_node: int = 8
    price_per_hour: float | None = None
    """Of one GPU."""
    hours_between_losses: float = 0.0
    """Mean time until a given node is lost; 0 loses none."""
    replaced_after: float = 300.0
    """Seconds until a lost node's replacement is up."""


@dataclass(frozen=True)
class Prediction:
    course: Course
    disturbed: Course | None
    """The same run with its nodes being lost now and then."""
    cluster: Devices
    gpus: int
    work: Work
    rates: Rates
    memory: Memory
    device_bytes: float
    bottleneck: str
    assumptions: tuple[str, ...]
    price_per_hour: float | None

    @property
    def seconds(self) -> float:
        return self.course.seconds

    @property
    def fits(self) -> bool:
        """Whether a trainer, a sampler, or both where they share one, find room on their device."""
        if not self.device_bytes:
            return True
        needs = (self.memory.training, self.memory.sampling)
        return (sum(needs) if self.cluster.shared else max(needs)) <= self.device_bytes

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / 3600

    def cost(self, course: Course) -> float | None:
        """Of all GPUs for as long as the run lasts."""
        return None if self.price_per_hour is None else self.price_per_hour * self.gpus * course.seconds / 3600


@dataclass(frozen=True)
class Basis:
    """What the times come from, when not from published figures."""

    rates: Rates
    seen: Seen
    source: str


def predict(config: Config, hardware: Hardware, basis: Basis | None = None) -> Prediction:
    """Simulate the run. `basis` holds measured rates; without one a GPU's published figures are used."""
    notes: list[str] = []
    if hardware.gpu and not hardware.gpus:
        hardware = replace(hardware, gpus=planned_gpus(config) or 1)
    if not hardware.gpu and basis is None:
        raise UserError(
            "how fast the hardware is must come from somewhere: give --gpu NAME and --gpus N, "
            "--from DIR (the journal of an earlier run), or --calibrate (a short measurement here)"
        )
    shape, work, engine = (
        model_shape(config.model.path),
        count_work(config, basis.seen if basis else None),
        _engine(config, hardware),
    )
    if basis:
        rates = basis.rates
        notes.append(basis.source)
    else:
        rates = published_rates(config, shape, gpu_named(hardware.gpu), engine, _context(work))
        notes += published_assumptions(hardware.gpu, config)
    if engine == "endpoint":
        rates = replace(rates, sample_step=0.02, sample_row=0.0, sample_token=0.0)
        notes.append("the endpoint writes 50 tokens a second for each of 256 requests at a time")
    cluster = _cluster(config, hardware, work, rates, engine)
    course = simulate(config, work, rates, cluster, engine)
    disturbed = None
    if hardware.hours_between_losses:
        losses = Losses(3600 * hardware.hours_between_losses, hardware.replaced_after, config.run.seed)
        disturbed = simulate(config, work, rates, cluster, engine, losses)
    bytes_ = gpu_named(hardware.gpu).memory * 1e9 if hardware.gpu else 0.0
    if config.selection.race:
        notes.append("every race spends its whole budget")
    return Prediction(
        course,
        disturbed,
        cluster,
        hardware.gpus,
        work,
        rates,
        plan_memory(config, shape, work, engine, bytes_),
        bytes_,
        bottleneck(course, cluster),
        (*notes, *work.assumptions),
        hardware.price_per_hour,
    )


def basis_from(directory: str, config: Config) -> Basis:
    """The journal of an earlier run of the same model and settings; sizes, seeds and workers may differ."""
    from seal_ray.rundir.directory import recorded_config

    earlier = recorded_config(directory)
    lines = difference(_settings(earlier), _settings(config))
    if lines:
        raise UserError(
            f"{directory}: ran with other settings ({'; '.join(lines)}); it cannot tell what this run takes"
        )
    measured = measure(directory, earlier)
    return Basis(measured.rates, measured.seen, f"measured from the journal of {directory}")


def _settings(config: Config) -> dict[str, object]:
    tree = {name: section for name, section in config.identity().items() if name not in SIZES}
    for section, size in (("sampling", "per_task"), ("trial", "seeds")):
        tree[section] = {key: value for key, value in tree[section].items() if key != size}
    return tree


def planned_gpus(config: Config) -> int:
    """GPUs that a config's own workers ask for."""
    workers = config.workers
    return round(workers.trainers * workers.gpus_per_trainer + workers.samplers * workers.gpus_per_sampler)


def _engine(config: Config, hardware: Hardware) -> str:
    name = config.sampling.engine
    if name != "auto":
        return name
    return "vllm" if hardware.gpus and (find_spec("vllm") or hardware.gpu) else "transformers"


def _context(work: Work) -> float:
    """The usual number of tokens before the next one, while sampling."""
    edits = [edit for group in (*work.train, *work.test) for edit in group]
    return sum(edit.prompt + edit.sampled / 2 for edit in edits) / max(1, len(edits))


def _cluster(config: Config, hardware: Hardware, work: Work, rates: Rates, engine: str) -> Devices:
    """The config's own workers where they fill the GPUs; otherwise the split that the work asks for."""
    workers, gpus = config.workers, hardware.gpus
    if not gpus:
        return Devices(workers.trainers, workers.samplers, cores=os.cpu_count() or 1)
    node = min(hardware.gpus_per_node, gpus)
    if planned_gpus(config) == gpus and workers.gpus_per_trainer and workers.gpus_per_sampler:
        per = (max(1, int(1 / workers.gpus_per_trainer)), max(1, int(1 / workers.gpus_per_sampler)))
        return Devices(workers.trainers, workers.samplers, per, gpus_per_node=node)
    if engine == "endpoint":
        return Devices(gpus, 1, gpus_per_node=node)
    if gpus == 1:
        return Devices(1, 1, shared=True)
    alone = simulate(config, work, rates, Devices(1, 1), engine)
    share = alone.sampling / max(1e-9, alone.sampling + alone.training)
    samplers = min(gpus - 1, max(1, round(gpus * share)))
    return Devices(gpus - samplers, samplers, gpus_per_node=node)


def bottleneck(course: Course, cluster: Devices) -> str:
    """What a run waits for most, and what would help."""
    whole = course.seconds
    updates = sum(stage.seconds for stage in course.stages if stage.name.endswith("update"))
    rounds = max(1e-9, sum(stage.seconds for stage in course.stages if not stage.name.endswith("update")))
    trainers = sum(s.training for s in course.stages if not s.name.endswith("update")) / (rounds * cluster.trainers)
    samplers = course.sampling / (rounds * cluster.samplers)
    if updates > 0.5 * whole:
        return f"the update: {updates / whole:.0%} of the time, on one trainer while all others wait"
    if course.driver > 0.7 * rounds:
        return f"the driver: busy {course.driver / rounds:.0%} of the time; larger trials would help"
    if max(trainers, samplers) < 0.5:
        return (
            f"too little work for so many workers: trainers are busy {trainers:.0%} and samplers {samplers:.0%} of the "
            "time; fewer of them, or more tasks, cost less for each trial"
        )
    if trainers >= samplers:
        return f"the trials: trainers are busy {trainers:.0%} of the time, samplers {samplers:.0%}"
    return f"the sampling: samplers are busy {samplers:.0%} of the time, trainers {trainers:.0%}"


def totals(work: Work, config: Config) -> dict[str, float]:
    """Tokens that will be written, and trained on, in the whole run."""
    train = [edit for group in work.train for edit in group]
    test = [edit for group in work.test for edit in group]
    rounds, race, per_task = config.run.rounds, config.selection.race, config.sampling.per_task
    seeds = race / per_task if race else config.trial.seeds
    updates = rounds * work.update.tokens
    tried = rounds * seeds * _trained(train) if tries_self_edits(config) else 0.0
    measured = work.together.tokens if work.together else _trained(test)
    evaluations = rounds + 1 if config.evaluation.every_round else 1
    return {
        "tokens_sampled": rounds * sum(e.sampled for e in train) + evaluations * sum(e.sampled for e in test),
        "tokens_trained": tried
        + evaluations * config.evaluation.seeds * measured
        + sum(job.tokens for job in work.baselines)
        + updates,
    }


def _trained(edits: Sequence[Edit]) -> float:
    return sum(edit.tried.tokens for edit in edits if edit.tried and not edit.twin)
