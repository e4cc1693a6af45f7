"""Checks what a run needs before it is started, and says what to do about what is missing.

    seal-ray doctor jobs/microworld.toml

Each check takes seconds at most, changes nothing that it does not undo, and never shows a secret. Torch is imported
in another process.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from typing import Any

from seal_ray.config import IN_PROCESS, Config
from seal_ray.machine import free_memory
from seal_ray.model.precision import AUTO
from seal_ray.types import UserError

TESTED = {"torch": "2.13", "transformers": "5.19", "ray": "2.60", "peft": "0.21", "safetensors": "0.8"}
"""Versions that the tests ran with; others may do as well."""
VLLM = "0.32"
_SECONDS = 60.0
_ASKED_ON_CPUS = 4e9
"""Bytes of weights; a larger base is not asked anything on CPUs."""


@dataclass(frozen=True)
class Check:
    name: str
    fine: bool
    found: str
    advice: str = ""
    """What to do about it; also given as a hint where the check is fine."""

    @property
    def line(self) -> str:
        advice = f"; {self.advice}" if self.advice else ""
        return f"{'✓' if self.fine else '✗'} {self.name}: {self.found}{advice}"


def examine(config: Config | None = None) -> Iterator[Check]:
    """One result after the other, as they come. Without a config, what every run needs."""
    yield _guarded("python", _python)
    for package, tested in TESTED.items():
        yield _package(package, tested)
    torch = _torch()
    yield _torch_check(torch)
    yield _guarded("gpus", lambda: _gpus(torch, config))
    yield _guarded("ray", lambda: _ray(config))
    if config is None:
        return
    yield from _of_run(config, torch)


def _of_run(config: Config, torch: dict[str, Any]) -> Iterator[Check]:
    """What this run needs."""
    yield _guarded("run directory", lambda: _storage(config))
    config, said = _settled(config)
    yield from said
    if config.model.dtype == AUTO:
        precision, config = _precision(config, torch)
        yield precision
    model = _guarded("model", lambda: _model(config))
    tasks = _guarded("tasks", lambda: _tasks(config))
    yield from (model, tasks)
    if model.fine and tasks.fine:  # what is wrong with them is no matter of memory
        yield _guarded("memory", lambda: _memory(config, torch))
        yield from _answers(config, torch)
    if config.sampling.engine == "vllm":
        yield _guarded("vllm", _vllm)
    if config.sampling.engine == "endpoint":
        yield _guarded("endpoint", lambda: _endpoint(config))


def _settled(config: Config) -> tuple[Config, list[Check]]:
    """The config with nothing left to the model, as a run would begin it."""
    from seal_ray.settling import settle

    try:
        found = settle(config, ask_hub=False)
    except UserError as error:
        of_model = str(error).startswith("model.path")  # which has a check of its own
        return config, [] if of_model else [Check("settings", False, str(error))]
    said = "; ".join(found.lines)
    return found.config, [Check("settings", True, said)] if said else []


def _precision(config: Config, torch: dict[str, Any]) -> tuple[Check, Config]:
    """In what a run would compute whose trainers are on machines like this one, or the run that is here does."""
    from seal_ray.rundir.directory import living

    if before := living(config.dir):
        dtype, reason = before.config.model.dtype, "the run in this directory was begun with it"
    elif "error" in torch:
        dtype, reason = "float32", "torch does not say what this machine can do"
    else:
        dtype, reason = torch["precision"]["dtype"], torch["precision"]["reason"]
    advice = "the machine of the first trainer decides" if _cluster_of(config) and not before else ""
    return Check("precision", True, f"{dtype}: {reason}", advice), config.in_precision(dtype)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an error that the user can fix is its result."""
    try:
        return check()
    except UserError as error:
        return Check(name, False, str(error))


def _python() -> Check:
    fine = sys.version_info >= (3, 11)
    advice = "" if fine else "take Python 3.11 or later"
    return Check("python", fine, platform.python_version(), advice)


def _package(name: str, tested: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, False, "not installed", "pip install -c constraints.txt -e .")
    same = found.split("+")[0].startswith(f"{tested}.") or found == tested
    return Check(name, True, found, "" if same else f"tested with {tested}; if it fails, install with constraints.txt")


_ASK_TORCH = """
import dataclasses, json, torch
from seal_ray.model.precision import of_this_process
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "gpus": [[gpu.name, gpu.total_memory] for gpu in gpus],
                  "precision": dataclasses.asdict(of_this_process())}))
"""


def _torch() -> dict[str, Any]:
    """What torch sees, found out in a process of its own; `error` when it cannot be imported."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_SECONDS:.0f} s", "gpus": []}
    if asked.returncode:
        lines = asked.stderr.strip().splitlines() or ["it ended without a word"]
        return {"error": lines[-1], "gpus": []}
    return json.loads(asked.stdout.strip().splitlines()[-1])


def _torch_check(torch: dict[str, Any]) -> Check:
    if "error" in torch:
        return Check("torch import", False, torch["error"], "install torch for this machine: see pytorch.org")
    return Check("torch import", True, f"built for CUDA {torch['cuda']}" if torch["cuda"] else "built for CPUs")


def _gpus(torch: dict[str, Any], config: Config | None) -> Check:
    driver, names = _nvidia()
    seen = [name for name, _ in torch["gpus"]]
    wanted = config is not None and (config.workers.gpus_per_trainer or config.workers.gpus_per_sampler)
    if names and not seen:
        advice = "torch sees none of them: install a CUDA build of torch that this driver supports"
        return Check("gpus", False, f"{len(names)} x {names[0]}, driver {driver}", advice)
    if seen:
        return Check("gpus", True, f"{len(seen)} x {seen[0]}, driver {driver or 'unknown'}")
    if wanted:
        advice = "fine on a head node; elsewhere install the driver, or set workers.gpus_per_trainer to 0"
        return Check(
            "gpus", bool(config and _cluster_of(config)), "none on this machine, and the config wants some", advice
        )
    return Check("gpus", True, "none on this machine, and none wanted")


def _nvidia() -> tuple[str, list[str]]:
    """Driver version and names of the GPUs, as the driver tells them."""
    query = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "", []
    rows = [line.split(", ", 1) for line in asked.stdout.splitlines() if ", " in line] if not asked.returncode else []
    return (rows[0][0], [name for _, name in rows]) if rows else ("", [])


def _cluster_of(config: Config) -> str:
    """The Ray cluster that the config names, if any."""
    return "" if config.workers.address == IN_PROCESS else config.workers.address


def _ray(config: Config | None) -> Check:
    """A cluster that is named, or found, must answer, with one Ray and one Python on all of its nodes."""
    if config and config.workers.address == IN_PROCESS:
        return Check("ray cluster", True, "none wanted: the workers live in the run's own process")

    import ray

    from seal_ray.workers.ray_connection import is_named, join

    address = config.workers.address if config else ""
    if not is_named(address):
        return Check("ray cluster", True, "none named: the run starts its own on this machine")

    joined = not ray.is_initialized()
    join(address)
    try:
        return _nodes(ray)
    finally:
        if joined:
            ray.shutdown()


def _nodes(ray: Any) -> Check:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote(num_cpus=0)
    def versions() -> tuple[str, str]:
        import platform

        import ray

        return ray.__version__, platform.python_version()

    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = {
        versions.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(): node
        for node in nodes
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_SECONDS)
    mine = (ray.__version__, platform.python_version())
    odd = {asked[ref]["NodeManagerAddress"]: found for ref in answered if (found := ray.get(ref)) != mine}
    gpus = ray.cluster_resources().get("GPU", 0)
    found = f"{len(nodes)} nodes, {gpus:g} GPUs, Ray {mine[0]} and Python {mine[1]} on all"
    if silent:
        where = ", ".join(asked[ref]["NodeManagerAddress"] for ref in silent)
        return Check("ray cluster", False, f"no answer from {where}", "look at `ray status` and the node's logs")
    if odd:
        told = ", ".join(f"{where} has Ray {r} and Python {p}" for where, (r, p) in odd.items())
        return Check("ray cluster", False, f"{told}; here {mine[0]} and {mine[1]}", "install the same on every node")
    return Check("ray cluster", True, found)


def _storage(config: Config) -> Check:
    """A small file is written, read back and deleted."""
    from seal_ray.record.storage import Store

    store, name, data = Store(config.dir), f".doctor-{uuid.uuid4().hex}", os.urandom(64)
    made = store.local is not None and not store.local.exists()
    try:
        store.write(name, data)
        same = store.read(name) == data
        kept = not store.create(name, b"another's") and store.read(name) == data
        store.delete(name)
    except OSError as error:
        raise UserError(f"{config.dir}: {error}") from None
    finally:
        if made and store.local and store.local.is_dir() and not any(store.local.iterdir()):
            store.local.rmdir()
    shared = "" if store.local is None else "on a cluster, every node that may run the driver must see this path"
    advice = shared if same and _cluster_of(config) else ("" if same else "choose another --run.dir")
    if same and not kept:
        found = f"{config.dir} writes over what is there when told not to, so two drivers could not be told apart"
        return Check("run directory", False, found, "choose another --run.dir")
    found = f"{config.dir} can be written, read and deleted in" if same else f"{config.dir} gives back other bytes"
    return Check("run directory", same, found, advice)


def _model(config: Config) -> Check:
    from seal_ray.model.architecture import check_kind, check_targets, model_folder
    from seal_ray.model.quantization import check_quantization
    from seal_ray.model.tokens import without_a_row
    from seal_ray.plan.show import readable_bytes

    check_kind(config.model.path)
    check_targets(config)
    check_quantization(config)
    folder = model_folder(config.model.path)
    if folder is None:
        advice = "workers will download it; download it once before, or see that every node can reach the hub"
        return Check("model", True, f"{config.model.path} is not in this machine's cache", advice)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return Check("model", False, f"{folder} has no *.safetensors", "download a revision with safetensors weights")
    size = sum(file.stat().st_size for file in weights)
    trouble, serious = without_a_row(config.model.path)
    return Check("model", not serious, f"{folder}, {readable_bytes(size)} of safetensors", trouble)


def _tasks(config: Config) -> Check:
    from seal_ray.domains.base import NeedsQuestions
    from seal_ray.domains.drawing import divided, held_out_tasks, training_tasks
    from seal_ray.domains.registry import load_domain

    domain = load_domain(config)
    train, test = training_tasks(config, domain, 1), held_out_tasks(config, domain)
    bare = sum(task.questions == () for task in (*train, *test)) if isinstance(domain, NeedsQuestions) else 0
    writer = config.questions.endpoint_model or config.questions.endpoint or "the base model"
    advice = f"{bare} have no questions: {writer} will write some" if bare else ""
    return Check("tasks", True, divided(train, test), advice)


def _memory(config: Config, torch: dict[str, Any]) -> Check:
    """What a trainer needs for its slots, against the smallest GPU here, or this machine's memory for all workers."""
    from seal_ray.model.architecture import NoShape, model_shape
    from seal_ray.plan.course import Simulation
    from seal_ray.plan.memory import beyond_one_gpu, plan_memory

    try:
        shape = model_shape(config.model.path)
    except NoShape as error:
        return Check("memory", True, f"not looked at: {error}")
    work, workers = Simulation(config).work(), config.workers
    engine = "vllm" if config.sampling.engine == "vllm" else "transformers"

    def need(slots: int) -> int:
        fewer = replace(config, workers=replace(workers, slots=slots))
        planned = plan_memory(fewer, shape, work, engine, 0.0)
        if workers.gpus_per_trainer:
            return planned.training
        return planned.training * workers.trainers + planned.sampling * workers.samplers

    most = need(workers.slots)
    if workers.gpus_per_trainer and not torch["gpus"]:
        return Check("memory", True, f"a trainer with {workers.slots} slots needs {most / 1e9:.1f} GB of GPU memory")
    if workers.gpus_per_trainer:
        smallest = min(size for _, size in torch["gpus"])
        wrong, advice = beyond_one_gpu(config, shape, smallest)
        if wrong:
            return Check("memory", False, wrong, advice)
        room = round(smallest * min(1.0, workers.gpus_per_trainer))
    else:
        room = free_memory()
    if need(1) > room:
        found = f"a single slot needs {need(1) / 1e9:.1f} GB of {room / 1e9:.1f} GB"
        return Check(
            "memory", False, found, "take a smaller model.path, model.dtype or trial.lora.rank, or more memory"
        )
    found = f"{workers.slots} slots need {most / 1e9:.1f} GB of {room / 1e9:.1f} GB"
    fitting = bisect_right(range(1, workers.slots + 1), room, key=need)
    return Check("memory", True, found if fitting == workers.slots else f"{found}: some {fitting} will be used")


def _answers(config: Config, torch: dict[str, Any]) -> Iterator[Check]:
    """What the base answers about a passage in its prompt, where it is here and not too large to be asked."""
    from seal_ray.model.architecture import model_folder
    from seal_ray.ops import base_answers

    folder = model_folder(config.model.path)
    if folder is None or not base_answers.asks(config):
        return
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    room = max((memory for _, memory in torch["gpus"]), default=_ASKED_ON_CPUS)
    if size > room:
        found = f"not asked: its weights are {size / 1e9:.1f} GB, too large for this machine to be asked in a moment"
        yield Check("answers", True, found)
        return

    def check() -> Check:
        asked = base_answers.ask(config)
        return Check("answers", not (advice := base_answers.trouble(config, asked)), asked.line, advice or asked.hint)

    yield _guarded("answers", check)


def _vllm() -> Check:
    if find_spec("vllm") is None:
        return Check("vllm", False, "not installed", "pip install 'seal-ray[vllm]', or another sampling.engine")
    found = version(packages_distributions()["vllm"][0])  # the CPU build goes by another name
    return Check("vllm", True, found, "" if found.startswith(VLLM) else f"tested with {VLLM}")


def _endpoint(config: Config) -> Check:
    """Whether something answers there, and whether a key is set: never which."""
    import httpx

    s = config.sampling
    if not s.endpoint:
        return Check("endpoint", False, "no address", "give sampling.endpoint")
    key = os.environ.get(s.key_env, "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        status = httpx.get(f"{s.endpoint.rstrip('/')}/models", headers=headers, timeout=10).status_code
    except httpx.HTTPError as error:
        return Check("endpoint", False, f"{s.endpoint} does not answer ({type(error).__name__})", "start it, or fix it")
    advice = "" if status < 400 else f"check the address, and the key in ${s.key_env}"
    return Check("endpoint", status < 400, f"{s.endpoint} answers with status {status}", advice)
