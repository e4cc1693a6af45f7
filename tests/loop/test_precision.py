"""The precision that a config leaves to the machine is settled once, and a run keeps to it wherever it goes on."""

from __future__ import annotations

import json
import logging
import platform
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from seal_ray.config import Config
from seal_ray.domains.registry import load_domain
from seal_ray.loop.preflight import look, prepare
from seal_ray.loop.run import run
from seal_ray.model.precision import Precision, of_processor, of_this_process
from seal_ray.observe.progress import Silent
from seal_ray.record.environment import processor
from seal_ray.rundir.directory import CONFIG, recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.rundir.keys import Names
from seal_ray.types import UserError
from seal_ray.workers.precision import of_first_trainer
from tests.in_process import CountingCluster
from tests.runs import results, rows_on_disk, small_run

OLD, NEW = Precision("float32", "an old machine"), Precision("bfloat16", "a new machine")
AUTO = ("--model.dtype", "auto")
TINY = ("--run.rounds", "0", "--evaluation.baselines", '["base", "passage only"]', "--evaluation.samples", "0")
TRIALS = 8
"""Two of each held-out task."""

On = Callable[[Precision], list[Config]]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """Has the machine of the first trainer be this one; returns who asked."""

    def put(machine: Precision) -> list[Config]:
        asked: list[Config] = []

        def answer(config: Config) -> Precision:
            asked.append(config)
            return machine

        monkeypatch.setattr("seal_ray.loop.preflight.of_first_trainer", answer)
        return asked

    return put


def cut_short(config: Config, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a run and end it with this many trials done."""
    whole, left = CountingCluster._timed, after

    async def timed(self: Any, what: str, work: Awaitable[Any]) -> Any:
        nonlocal left
        result = await whole(self, what, work)
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(CountingCluster, "_timed", timed)
        with pytest.raises(KeyboardInterrupt):
            run(config, Silent())


@pytest.mark.slow
def test_a_run_keeps_its_precision_on_a_machine_that_would_choose_another(
    tmp_path: Path, on: On, in_process: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = small_run(tmp_path / "run", *AUTO, *TINY)
    on(OLD)
    cut_short(begun, 3, monkeypatch)
    kept = rows_on_disk(tmp_path / "run")
    assert 0 < kept < TRIALS
    in_process.clear()
    assert json.loads((tmp_path / "run" / CONFIG).read_text())["config"]["model"]["dtype"] == "float32"
    asked = on(NEW)
    run(begun, Silent())
    assert not asked
    run(small_run(tmp_path / "whole", "--model.dtype", "float32", *TINY), Silent())
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert in_process["trial"] == 2 * TRIALS - kept
    assert recorded_config(str(tmp_path / "run")).model.dtype == "float32"
    run(recorded_config(str(tmp_path / "run")), Silent())  # as `resume` does
    look(begun)


def test_what_was_chosen_is_said_with_its_reason_and_names_the_results(
    tmp_path: Path, on: On, caplog: pytest.LogCaptureFixture
) -> None:
    config = small_run(tmp_path, *AUTO)
    asked = on(NEW)
    with caplog.at_level(logging.INFO):
        ready = prepare(config)
    assert len(asked) == 1
    assert "model.dtype = bfloat16: a new machine" in caplog.messages
    assert ready.config.model.dtype == "bfloat16"
    said = small_run(tmp_path, "--model.dtype", "bfloat16")
    assert ready.identity == identify(said, load_domain(said))
    on(OLD)
    assert Names.of(prepare(config).identity).model != Names.of(ready.identity).model


def test_another_precision_than_that_of_the_run_is_refused(
    tmp_path: Path, on: On, in_process: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(OLD)
    cut_short(small_run(tmp_path, *AUTO, *TINY), 1, monkeypatch)
    with pytest.raises(UserError, match=r"model.dtype: 'float32' -> 'bfloat16'"):
        run(small_run(tmp_path, "--model.dtype", "bfloat16", *TINY), Silent())
    asked = on(NEW)
    with pytest.raises(UserError, match=r"another config .run.seed: 1 -> 2."):
        run(small_run(tmp_path, *AUTO, *TINY, "--run.seed", "2"), Silent())
    assert not asked


def test_a_run_that_takes_another_ones_directory_has_the_machine_asked(
    tmp_path: Path, on: On, in_process: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(OLD)
    cut_short(small_run(tmp_path / "run", *AUTO, *TINY), 1, monkeypatch)
    on(NEW)
    assert prepare(small_run(tmp_path / "run", *AUTO, *TINY), force=True).config.model.dtype == "float32"
    other = small_run(tmp_path / "run", *AUTO, *TINY, "--run.seed", "2")
    assert prepare(other, force=True).config.model.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["avx512f", "avx512_bf16"], Precision("bfloat16", "A CPU multiplies bfloat16 in hardware (avx512_bf16)")),
        (["amx_bf16", "amx_tile"], Precision("bfloat16", "A CPU multiplies bfloat16 in hardware (amx_bf16)")),
        (["avx512f", "avx512bw", "amx_int8"], Precision("float32", "A CPU does not multiply bfloat16 in hardware")),
        ([], Precision("float32", "A CPU does not multiply bfloat16 in hardware")),
    ],
)
def test_a_processor_is_taken_at_its_word(flags: list[str], expected: Precision) -> None:
    assert of_processor("A CPU", flags) == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="torch answers this for x86-64 alone")
def test_torch_sees_in_this_processor_what_it_says_of_itself() -> None:
    import torch

    name, flags = processor()
    multiplies = torch.cpu._is_avx512_bf16_supported() or ("amx_bf16" in flags and torch.cpu._is_amx_tile_supported())
    assert (of_processor(name, flags).dtype == "bfloat16") == multiplies
    assert name


def test_a_trainers_machine_is_asked_where_trainers_are(tmp_path: Path, local_ray: None) -> None:
    expected = of_this_process()
    for address in ("", "in-process"):
        assert of_first_trainer(small_run(tmp_path, *AUTO, "--workers.address", address)) == expected
