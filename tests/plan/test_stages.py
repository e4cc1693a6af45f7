"""A plan covers what a run does: of every job that ships, the stages of a tiny real run are those that are planned."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from seal_ray.config import Config, load
from seal_ray.events import Event, StageBegan
from seal_ray.loop.run import run
from seal_ray.plan import Hardware, predict
from seal_ray.plan.cluster import Devices
from seal_ray.plan.course import Simulation
from seal_ray.plan.rates import Rates
from seal_ray.types import Prompt
from tests.in_process import CountingCluster

JOBS = Path(__file__).parents[2] / "jobs"
EVERY_JOB = sorted(path.name for path in JOBS.glob("*.toml"))
GRIDS = [[[0, 1], [1, 0]], [[2, 0], [0, 2]], [[3, 3], [0, 3]]]

TINY = [
    *("--workers.address", "in-process", "--workers.gpus_per_trainer", "0", "--workers.gpus_per_sampler", "0"),
    *("--workers.slots", "4", "--workers.allocation", "fixed", "--sampling.engine", "transformers"),
    *("--sampling.per_task", "2", "--sampling.max_tokens", "8", "--trial.answer_tokens", "2", "--trial.seeds", "1"),
    *("--trial.optim.epochs", "1", "--update.optim.epochs", "1", "--selection.rule", "tests.plan.rules:first"),
]
OWN_MODEL = ["--model.dtype", "float32", "--model.max_length", "2048", "--domain.train", "2", "--domain.test", "2"]
OF_JOB = {
    "microworld.toml": ["--domain.train", "2", "--domain.test", "2", "--run.rounds", "2"],
    "arc_small.toml": [
        *("--domain.train", "2", "--domain.test", "1", "--run.rounds", "1", "--evaluation.baselines", '["in-context"]'),
        *("--sampling.per_task", "1"),
    ],
    "arc.toml": ["--evaluation.baselines", '["in-context"]', "--evaluation.samples", "1"],
    "arc_real.toml": ["--evaluation.baselines", '["in-context"]'],
    "squad_small.toml": ["--trial.preset", "none"],
    "squad_half.toml": ["--trial.preset", "none"],
    "knowledge_best.toml": ["--selection.race", "3"],
    "continual.toml": ["--continual.sequences", "2", "--continual.passages", "2"],
    "streams.toml": ["--continual.sequences", "1", "--continual.passages", "2", "--model.dtype", "float32"],
    "methods.toml": ["--domain.train", "2", "--domain.test", "2", "--run.rounds", "1", "--evaluation.texts", "[1, 2]"],
    "streams_real.toml": ["--trial.preset", "none", "--continual.passages", "2"],
    "memory.toml": ["--continual.sequences", "1", "--continual.passages", "2", "--model.dtype", "float32"],
}


class Seen:
    """The stages of a run, and the pieces of each."""

    def __init__(self) -> None:
        self.stages: Counter[tuple[str, int]] = Counter()

    def on(self, event: Event) -> None:
        if isinstance(event, StageBegan) and event.total:
            self.stages[_without_numbers(event.stage), event.total] += 1

    def close(self) -> None: ...


def _without_numbers(stage: str) -> str:
    """How many self-edits are kept is not known before."""
    name, update, _ = stage.partition(": update")
    return name + update


class Asking(CountingCluster):
    """Its base knows how to ask questions."""

    async def ask(self, prompts: Sequence[Prompt], max_tokens: int) -> list[str]:
        passages = [str(prompt).partition("Title: ")[2] for prompt in prompts]
        return [f"Question 1: What is it about?\nAnswer: {max(text.split()[1:], key=len)}" for text in passages]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """A model of random weights, and what each domain's tasks come from."""
    folder = tmp_path_factory.mktemp("sources")
    runpy.run_path(str(JOBS / "tiny_model.py"))["make"](str(folder / "model"), hidden=64, layers=2)
    (folder / "model/chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    model = ["--model.path", str(folder / "model"), *OWN_MODEL]
    (folder / "bare").mkdir()
    for number, line in enumerate((JOBS / "passages.jsonl").read_text().splitlines()):
        (folder / f"bare/{number}.txt").write_text(json.loads(line)["context"])
    for split, grids in (("train", GRIDS), ("test", [[row[::-1] for row in grid] for grid in GRIDS])):
        pairs = [{"input": grid, "output": grid[::-1]} for grid in grids]
        tasks = {f"{split}{n}": {"train": [pairs[n], pairs[n - 1]], "test": [pairs[n - 2]]} for n in (0, 1)}
        (folder / f"{split}.json").write_text(json.dumps(tasks))
    arc = ["--domain.options", json.dumps({name: str(folder / f"{name}.json") for name in ("train", "test")})]
    with_questions = ["--domain.options.train", str(JOBS / "passages.jsonl"), "--domain.options.test_fraction", "0.5"]
    without = ["--domain.options.train", str(folder / "bare"), "--domain.options.test_fraction", "0.5"]
    shipped = {"microworld.toml": [], "arc_small.toml": [], "streams.toml": [], "memory.toml": [], "methods.toml": []}
    return {
        **{job: [*model, *with_questions] for job in EVERY_JOB},
        **shipped,
        "arc.toml": [*model, *arc],
        "arc_real.toml": [*model, *arc],
        "documents.toml": [*model, *without],
    }


@pytest.mark.slow
@pytest.mark.parametrize("job", EVERY_JOB)
def test_the_stages_of_a_real_run_are_those_planned(
    job: str, sources: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal_ray.loop.session.open_cluster", Asking)
    config = load(JOBS / job, [*TINY, *sources[job], *OF_JOB.get(job, []), "--run.dir", str(tmp_path)])
    real = Seen()
    run(config, real)
    planned = planned_stages(config)
    if config.domain.skip_solved:  # which of them are solved is not known before
        assert Counter(name for name, _ in planned.elements()) == Counter(name for name, _ in real.stages.elements())
    else:
        assert planned == real.stages


def planned_stages(config: Config) -> Counter[tuple[str, int]]:
    course = Simulation(config).course(Rates(*[1e-3] * 10), Devices(1, 1), "transformers")
    return Counter((_without_numbers(stage.name), stage.pieces) for stage in course.stages)


@pytest.mark.slow
@pytest.mark.parametrize("job", EVERY_JOB)
def test_every_job_that_ships_is_planned_as_it_is(job: str, sources: dict[str, list[str]]) -> None:
    own = sources[job] if job in ("arc.toml", "arc_real.toml", "knowledge_small.toml", "documents.toml") else []
    if job == "streams_real.toml":  # whose ways look at the model's layers
        own = [*sources[job], *OF_JOB[job]]
    config = load(JOBS / job, own)
    names = [stage.name for stage in predict(config, Hardware(2, "h100")).course.stages]
    assert names
    in_turn = job in ("continual.toml", "streams.toml", "streams_real.toml", "memory.toml")
    assert any(name.startswith("continual") for name in names) == in_turn
    assert sum("update on" in name for name in names) == config.run.rounds
    assert ("questions for passages without" in names) == (job == "documents.toml")


def test_each_reading_of_what_the_base_knows_is_a_trial_of_its_own() -> None:
    few = [*OF_JOB["streams.toml"], "--domain.test", "2", "--continual.ways", '["none"]']

    def trials(contradicts: str) -> int:
        config = load(JOBS / "streams.toml", [*few, "--domain.options.contradicts", contradicts])
        return Simulation(config).work().trials

    assert trials("true") - trials("false") == 2, "one for each passage that says something else"
