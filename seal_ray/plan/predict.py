"""Predicts from a config and hardware what a run will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec

from seal_ray.config import Config, difference
from seal_ray.machine import cores
from seal_ray.model.architecture import Shape, check_kind, model_shape
from seal_ray.plan.cluster import Devices, Losses
from seal_ray.plan.course import Course, Simulation
from seal_ray.plan.measure import measure
from seal_ray.plan.memory import Memory, beyond_one_gpu, plan_memory
from seal_ray.plan.rates import Rates, gpu_named, published_assumptions, published_rates
from seal_ray.plan.standin import Seen
from seal_ray.types import UserError

SIZES = ("run", "domain", "selection", "evaluation", "grading", "workers")
"""Sections in which a planned run may differ from the one it is measured by."""

_ENOUGH = 25
"""Tasks of each split that suffice to tell how the work divides into sampling and training."""


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

    def __post_init__(self) -> None:
        least = {"gpus_per_node": 1}
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not least.get(name, 0) <= value < math.inf:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} {value:g}: give a number of {least.get(name, 0)} or more")


@dataclass(frozen=True)
class Prediction:
    course: Course
    disturbed: Course | None
    """The same run with its nodes being lost now and then."""
    cluster: Devices
    gpus: int
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
    """Measured times, which take the place of published figures."""

    rates: Rates
    seen: Seen | None
    """None where what was written was cut short, and says nothing of how long it would have been."""
    source: str
    dtype: str
    """The precision that was measured."""


def predict(config: Config, hardware: Hardware, basis: Basis | None = None) -> Prediction:
    """Simulate the run. `basis` holds measured rates; without one a GPU's published figures are used."""
    if hardware.gpu and not hardware.gpus:
        hardware = replace(hardware, gpus=planned_gpus(config) or 1)
    if not hardware.gpu and basis is None:
        raise UserError(
            "how fast the hardware is must come from somewhere: give --gpu NAME and --gpus N, "
            "--from DIR (the journal of an earlier run), or --calibrate (a short measurement here)"
        )
    config = config.in_precision(basis.dtype if basis else "bfloat16")  # which all GPUs of the table multiply
    check_kind(config.model.path)
    shape, engine = model_shape(config.model.path), _engine(config, hardware)
    bytes_ = gpu_named(hardware.gpu).memory * 1e9 if hardware.gpu else 0.0
    wrong, advice = beyond_one_gpu(config, shape, bytes_) if bytes_ else ("", "")
    if wrong:
        raise UserError(f"model.path {config.model.path!r}: {wrong}; {advice}")
    simulation = Simulation(config, basis.seen if basis else None)
    rates, notes = _rates(simulation, hardware, basis, shape, engine)
    cluster = _cluster(simulation, hardware, rates, engine)
    course = simulation.course(rates, cluster, engine)
    disturbed = None
    if hardware.hours_between_losses:
        losses = Losses(3600 * hardware.hours_between_losses, hardware.replaced_after, config.run.seed)
        disturbed = simulation.course(rates, cluster, engine, losses)
    return Prediction(
        course=course,
        disturbed=disturbed,
        cluster=cluster,
        gpus=hardware.gpus,
        rates=rates,
        memory=plan_memory(config, shape, course.work, engine, bytes_),
        device_bytes=bytes_,
        bottleneck=bottleneck(course, cluster),
        assumptions=(*notes, *simulation.assumptions),
        price_per_hour=hardware.price_per_hour,
    )


def _rates(
    simulation: Simulation, hardware: Hardware, basis: Basis | None, shape: Shape, engine: str
) -> tuple[Rates, list[str]]:
    """How long things take, and where these figures are from."""
    config = simulation.config
    if basis:
        rates, notes = basis.rates, [basis.source]
    else:
        rates = published_rates(config, shape, gpu_named(hardware.gpu), engine, simulation.context())
        notes = published_assumptions(hardware.gpu, config)
    if engine == "endpoint":
        rates = replace(rates, sample_step=0.02, sample_row=0.0, sample_token=0.0)
        notes.append("the endpoint writes 50 tokens a second for each request, however many there are")
    return rates, notes


def basis_from(directory: str, config: Config) -> Basis:
    """The journal of an earlier run of the same model and settings; sizes, seeds and workers may differ."""
    from seal_ray.rundir.directory import recorded_config

    earlier = recorded_config(directory)
    lines = difference(_settings(earlier), _settings(config.in_precision(earlier.model.dtype)))
    if lines:
        raise UserError(
            f"{directory}: ran with other settings ({'; '.join(lines)}); it cannot tell what this run takes"
        )
    measured = measure(directory, earlier)
    return Basis(measured.rates, measured.seen, f"measured from the journal of {directory}", earlier.model.dtype)


def _settings(config: Config) -> dict[str, object]:
    tree = {name: section for name, section in config.identity().items() if name not in SIZES}
    for section, size in (("sampling", "per_task"), ("trial", "seeds")):
        tree[section] = {key: value for key, value in tree[section].items() if key != size}
    return tree


def planned_gpus(config: Config) -> int:
    """GPUs that a config's own workers take."""
    workers = config.workers
    return round(workers.trainers * workers.gpus_per_trainer + workers.samplers * workers.gpus_per_sampler)


def _engine(config: Config, hardware: Hardware) -> str:
    name = config.sampling.engine
    if name != "auto":
        return name
    return "vllm" if hardware.gpus and (find_spec("vllm") or hardware.gpu) else "transformers"


def _cluster(simulation: Simulation, hardware: Hardware, rates: Rates, engine: str) -> Devices:
    """The config's own workers where they fill the GPUs; otherwise the division that the work needs."""
    workers, gpus = simulation.config.workers, hardware.gpus
    if not gpus:
        return Devices(workers.trainers, workers.samplers, cores=cores())
    node = min(hardware.gpus_per_node, gpus)
    if planned_gpus(simulation.config) == gpus and workers.gpus_per_trainer and workers.gpus_per_sampler:
        per = (max(1, int(1 / workers.gpus_per_trainer)), max(1, int(1 / workers.gpus_per_sampler)))
        return Devices(workers.trainers, workers.samplers, per, gpus_per_node=node)
    if engine == "endpoint":
        return Devices(gpus, 1, gpus_per_node=node)
    if gpus == 1:
        return Devices(1, 1, shared=True)
    alone = simulation.smaller(_ENOUGH).course(rates, Devices(1, 1), engine)
    share = alone.sampling / max(1e-9, alone.sampling + alone.training)
    samplers = min(gpus - 1, max(1, round(gpus * share)))
    return Devices(gpus - samplers, samplers, gpus_per_node=node)


def bottleneck(course: Course, cluster: Devices) -> str:
    """What a run waits for most, and what would help."""
    beside = max(1e-9, course.seconds - course.updates)
    trainers = (course.training - course.updates) / (beside * cluster.trainers)
    samplers = course.sampling / (beside * cluster.samplers)
    if course.updates > 0.5 * course.seconds:
        return f"the update: {course.updates / course.seconds:.0%} of the time, in which the other workers wait"
    if course.driver > 0.7 * beside:
        return f"the driver: busy {course.driver / beside:.0%} of the time; larger trials would help"
    if max(trainers, samplers) < 0.5:
        return (
            f"too little work for so many workers: trainers are busy {trainers:.0%} and samplers {samplers:.0%} of the "
            "time; fewer of them, or more tasks, cost less for each trial"
        )
    if trainers >= samplers:
        return f"the trials: trainers are busy {trainers:.0%} of the time, samplers {samplers:.0%}"
    return f"the sampling: samplers are busy {samplers:.0%} of the time, trainers {trainers:.0%}"
