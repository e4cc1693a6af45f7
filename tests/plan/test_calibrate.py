"""A calibration takes a minute at most, whatever the model: of a slow one it measures a part, and says so."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from seal_ray.cli.app import main
from seal_ray.config import Config, load
from seal_ray.domains.registry import load_domain
from seal_ray.events import Advanced, Event, Events, StageBegan
from seal_ray.plan import probe
from seal_ray.plan.ladder import Climbed, Ladder
from seal_ray.plan.measure import rates_of
from seal_ray.plan.predict import Basis
from seal_ray.plan.rates import Rates
from seal_ray.types import Completion, Outcome, SampleRequest, Trial, UserError
from tests.plan.slow_workers import SlowSampler, SlowTrainer
from tests.runs import CONFIG

RATES = Rates(
    train_step=5e-3,
    train_token=5e-5,
    train_slot=0.0,
    ask_step=4e-3,
    ask_row=1e-4,
    ask_token=0.0,
    sample_step=3e-3,
    sample_row=2e-4,
    sample_token=0.0,
    start=0.0,
)
MEASURED = 20.0
"""Seconds that slow workers are given."""
WRITTEN = "\n".join("Anna was born in Paris ." for _ in range(10))


class KnownBench:
    """One worker of each kind whose times are known, so many times slower than `RATES` says."""

    def __init__(self, config: Config, slower: float) -> None:
        self._slots, self._slower, self.clock = config.workers.slots, slower, 0.0

    def now(self) -> float:
        return self.clock

    def sample(self, requests: Sequence[SampleRequest], seconds: float) -> tuple[float, Sequence[Completion]] | None:
        tokens = min(60, requests[0].max_tokens)
        took = (tokens + 1) * RATES.sample_step + len(requests) * tokens * RATES.sample_row
        return self._done(took, [Completion(WRITTEN, tokens, finished=tokens == 60)] * len(requests), seconds)

    def run(self, trials: Sequence[Trial], seconds: float) -> list[tuple[float, Sequence[Outcome]]] | None:
        outcomes = list(map(self._outcome, trials))
        trained = [outcome for outcome in outcomes if outcome.steps]
        steps = sum(outcome.steps for outcome in trained) / max(1, min(self._slots, len(trained)))
        took = steps * RATES.train_step + sum(outcome.tokens for outcome in trained) * RATES.train_token
        answer = trials[0].max_answer_tokens
        rows = sum(len(outcome.answers) for outcome in outcomes)
        took += math.ceil(len(trials) / self._slots) * (answer + 1) * RATES.ask_step + rows * answer * RATES.ask_row
        done = self._done(took, outcomes, seconds)
        return [done] if done else None

    def _outcome(self, trial: Trial) -> Outcome:
        answers = ("right",) * len(trial.questions)
        if not trial.recipe:
            return Outcome("", answers)
        examples, optim = trial.recipe.examples, trial.recipe.optim
        words = sum(len(example.completion.split()) for example in examples)
        steps = optim.epochs * -(-len(examples) // optim.batch_size)
        return Outcome("", answers, steps=steps, tokens=optim.epochs * words)

    def _done(self, took: float, what: Any, seconds: float) -> tuple[float, Any] | None:
        took *= self._slower
        self.clock += min(took, seconds)
        return (took, what) if took <= seconds else None


def climbed(slower: float) -> tuple[Climbed, Climbed, KnownBench]:
    config = load(CONFIG)
    bench, domain = KnownBench(config, slower), load_domain(config)
    ladder = Ladder(config, domain, domain.tasks("train", 8, 1), bench)
    return ladder.sample(20.0), ladder.train(50.0), bench


@pytest.mark.parametrize("slower", [1, 30, 300])
def test_whatever_the_model_its_rates_are_found_in_time(slower: float) -> None:
    sampled, trained, bench = climbed(slower)
    assert bench.clock <= 50.0
    assert (min(sampled.share, trained.share) == 1.0) == (slower == 1)
    found = rates_of(trained.observed, sampled.observed, 0.0, 0.0)
    for name in ("train_step", "train_token", "ask_step", "ask_row", "sample_step", "sample_row"):
        assert getattr(found, name) == pytest.approx(slower * getattr(RATES, name), rel=0.05), name


def test_of_a_model_that_is_far_too_slow_nothing_is_found_and_no_time_is_lost() -> None:
    sampled, trained, bench = climbed(1e6)
    assert not sampled.observed
    assert not trained.observed
    assert bench.clock == pytest.approx(50.0)


@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_slow_workers_are_measured_in_part_until_their_time_is_up_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(probe, "Trainer", SlowTrainer)
    monkeypatch.setattr(probe, "Sampler", SlowSampler)
    caplog.set_level(logging.INFO)
    stages: list[Event] = []
    watching = SimpleNamespace(on=stages.append, close=lambda: None)
    bench = probe.RayBench(time.monotonic() + 300, Events(observers=[watching]))
    try:
        bench.start(load(CONFIG))
        bench.until = bench.now() + MEASURED
        basis = probe._measured(load(CONFIG), *probe._work(load(CONFIG)), bench)
        assert bench.now() < bench.until + 5.0
    finally:
        bench.close()
    assert "the model is slow here: self-edits were measured at" in basis.source
    assert basis.rates.train_step + basis.rates.train_token > 0  # which of them, is not seen on a busy machine
    assert "measuring: 3 workers load the model" in caplog.messages
    assert any(message.startswith("measuring: 1 self-edits of up to") for message in caplog.messages)
    began, *advanced = stages
    assert isinstance(began, StageBegan)
    assert sum(each.by for each in advanced if isinstance(each, Advanced)) == began.total


@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_a_model_that_does_not_even_load_in_time_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CLOSING", probe.SECONDS)
    with pytest.raises(UserError, match=r"--calibrate: loading the model takes longer here than the 60 s") as refused:
        probe.calibrate(load(CONFIG))
    assert "\n" not in str(refused.value)


def test_what_ray_takes_to_start_is_none_of_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]

    def slow(_: Config) -> SimpleNamespace:
        clock[0] += 300.0
        return SimpleNamespace(dtype="float32")

    def bench(until: float, _: Events) -> SimpleNamespace:
        def start(_: Config) -> None:
            raise UserError(f"{until - clock[0]:.0f} s are left")

        return SimpleNamespace(start=start, close=lambda: None)

    monkeypatch.setattr(probe, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(probe, "connect", slow)
    monkeypatch.setattr(probe, "of_first_trainer", slow)
    monkeypatch.setattr(probe, "RayBench", bench)
    with pytest.raises(UserError, match=f"^{probe.SECONDS - probe._CLOSING:.0f} s are left"):
        probe.calibrate(load(CONFIG))


def test_workers_in_the_drivers_own_process_are_not_timed_and_what_is_instead_is_said() -> None:
    said = r"add --workers.address '' to have them timed on a Ray that is started here, or give --from DIR"
    with pytest.raises(UserError, match=said) as refused:
        probe.calibrate(load(CONFIG, ["--workers.address", "in-process"]))
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("local_ray")
def test_workers_that_find_no_room_beside_each_other_are_refused_at_once_in_one_line() -> None:
    cores = ray.cluster_resources()["CPU"]
    with pytest.raises(UserError, match=r"no room for a trainer \(.* CPUs?\) and a sampler"):
        probe.calibrate(load(CONFIG, ["--workers.cpus", str(cores * 0.6)]))


def test_where_no_hardware_is_named_this_machine_is_timed_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Basis(replace(RATES, start=4.0), None, "measured here with one trainer", "float32")
    monkeypatch.setattr(probe, "calibrate", lambda *_: measured)
    with pytest.raises(SystemExit, match="0"):
        main(["plan", str(CONFIG), "--domain.train", "4", "--domain.test", "4", "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err.startswith("for this machine, on which things are timed first (--calibrate)")
    assert (found["start_seconds"], found["gpus"]) == (4.0, 0)
    assert "measured here with one trainer" in found["assumptions"]


def test_a_model_that_is_not_here_is_not_fetched_unasked_to_be_timed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(CONFIG), "--model.path", "nobody/nothing"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.path 'nobody/nothing' is not on this machine, so nothing is timed here unasked; give --gpu" in line
