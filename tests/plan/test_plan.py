"""What a plan says follows from the run's own shape: its trials, its memory, its nodes that come and go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal_ray.bank import Bank
from seal_ray.config import load
from seal_ray.model.architecture import model_shape
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.locate import resolve
from seal_ray.plain import UNSEEN
from seal_ray.plan import Hardware, Prediction, predict
from seal_ray.plan.course import Simulation
from seal_ray.plan.memory import per_slot
from seal_ray.plan.pool import Driver, Pool
from seal_ray.plan.rates import Rates
from seal_ray.plan.show import print_plan
from seal_ray.plan.sizes import TextSize, TrialSize
from seal_ray.plan.virtual import run_virtually
from seal_ray.plan.workers import Bank as PlannedBank
from seal_ray.plan.workers import Device, Stream
from seal_ray.types import LoraSpec, UserError

JOBS = Path(__file__).parents[2] / "jobs"
MUCH = [
    *("--domain.train", "160", "--sampling.per_task", "15", "--run.rounds", "1"),
    *("--evaluation.samples", "0", "--domain.test", "1"),
]


def planned(gpus: int, *overrides: str, gpu: str = "h100", **hardware: Any) -> Prediction:
    return predict(load(JOBS / "knowledge.toml", overrides), Hardware(gpus, gpu, **hardware))


@pytest.fixture(scope="module")
def thousand() -> Prediction:
    """What 1,024 GPUs do, and what they do while nodes of theirs are lost."""
    return planned(1024, *MUCH, hours_between_losses=0.02, replaced_after=30.0, price_per_hour=2.0)


@pytest.mark.slow
def test_more_gpus_do_the_same_trials_in_less_time(thousand: Prediction) -> None:
    found = [*(planned(gpus, *MUCH) for gpus in (1, 8)), thousand]
    every_task_alone, baselines = 160, 3
    assert {each.course.work.trials for each in found} == {160 * 15 * 3 + every_task_alone + baselines}
    one, eight, most = (each.seconds for each in found)
    assert one > 3 * eight > 9 * most
    for each in found:
        busy = each.course.training / each.course.trainers, each.course.sampling / each.course.samplers
        assert max(busy) <= each.seconds


def test_a_precision_that_is_left_to_the_gpus_is_planned_as_they_choose_it() -> None:
    small = ("--domain.train", "2", "--domain.test", "2", "--run.rounds", "0")
    auto, said = (planned(1, *small, "--model.dtype", dtype) for dtype in ("auto", "bfloat16"))
    assert (auto.seconds, auto.memory, auto.assumptions) == (said.seconds, said.memory, said.assumptions)


def test_a_terminal_obeys_nothing_of_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(1, "--domain.train", "2", "--domain.test", "2", "--run.rounds", "0")
    print_plan(replace(found, bottleneck="\x1b[2Jnone", assumptions=("a \x1b]0;title\x07b",)))
    said = capsys.readouterr().out
    assert "bottleneck: [2Jnone" in said
    assert "a ]0;titleb" in said
    assert not UNSEEN.search(said)


@pytest.mark.slow
def test_1024_gpus_whose_nodes_are_lost_lose_no_trial_and_repeat_what_was_held(thousand: Prediction) -> None:
    found = thousand
    assert found.disturbed
    assert found.disturbed.work == found.course.work
    assert found.disturbed.losses > 10
    assert found.disturbed.repeated > found.disturbed.losses
    assert found.seconds < found.disturbed.seconds < 2 * found.seconds
    assert found.cost(found.course) == pytest.approx(2.0 * 1024 * found.seconds / 3600)


def ended_in_a_bank(rates: Rates) -> list[tuple[int, float]]:
    """Steps and end of three trials in a bank of two slots."""
    done = []

    async def three_trials() -> None:
        device = Device(1)
        bank = Pool("bank", Driver(0.0), lambda _: device, lambda *args: PlannedBank(2, *args), rates, size=1, depth=4)

        async def one(steps: int) -> None:
            await bank.call(TrialSize(steps, 10.0 * steps, rows=1, prompt=4.0, answer=3))
            done.append((steps, asyncio.get_running_loop().time()))

        await asyncio.gather(*map(one, (3, 5, 2)))

    run_virtually(three_trials())
    return sorted(done)


def test_a_simulated_bank_refills_a_slot_that_is_free_and_asks_when_all_wait() -> None:
    done = ended_in_a_bank(Rates(1.0, 0, 0, 0.5, 0, 0, 0, 0, 0, start=0))
    # 3 steps; the third takes its slot, and both others are asked (4 passes of half a second) when the second is done.
    assert done in ([(2, 9.0), (3, 7.0), (5, 7.0)], [(2, 7.0), (3, 7.0), (5, 9.0)])


def test_a_simulated_bank_whose_steps_take_no_time_comes_to_its_end_too() -> None:
    done = ended_in_a_bank(Rates(0, 0, 0, 0.5, 0, 0, 0, 0, 0, start=0))
    assert [steps for steps, _ in done] == [2, 3, 5]
    assert {round(end, 6) for _, end in done} == {2.0, 4.0}, "only the questions take any"


TARGETS = [
    ("q_proj", "v_proj"),
    ("all-linear",),
    ("layers.1.self_attn.q_proj", "v_proj"),
    ("layers.0.mlp.up_proj", "lm_head"),
]
"""Of adapters of ranks 4, 8, 16 and 32."""


def test_a_simulated_sampler_refills_a_place_that_is_free() -> None:
    rates = Rates(0, 0, 0, 0, 0, 0, 1.0, 0, 0, start=0)
    done = []

    async def three_texts() -> None:
        device = Device(1)
        sampler = Pool(
            "sampler", Driver(0.0), lambda _: device, lambda *args: Stream(9, 2, *args), rates, size=1, depth=10**6
        )

        async def one(tokens: float) -> None:
            await sampler.call(TextSize(4.0, tokens))
            done.append((tokens, asyncio.get_running_loop().time()))

        await asyncio.gather(*map(one, (3.0, 5.0, 4.0)))

    run_virtually(three_texts())
    assert done == [(3.0, 3.0), (5.0, 5.0), (4.0, 7.0)]


def test_the_planned_memory_of_a_slot_and_of_the_weights_is_that_of_the_real_bank() -> None:
    config = load(JOBS / "microworld.toml")
    shape = model_shape(config.model.path)
    spec = ModelSpec(resolve(config.model.path), None, config.model.dtype, config.model.max_length)
    model = load_model(spec)
    bank = Bank(model, load_tokenizer(spec), slots=config.workers.slots)
    for lora in (config.trial.lora, *(LoraSpec(4 << n, 8.0, targets) for n, targets in enumerate(TARGETS))):
        planned = replace(config, trial=replace(config.trial, lora=lora))
        assert per_slot(planned, shape) == bank.memory_per_slot(lora)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.slow
def test_an_update_that_is_held_reads_a_batch_of_questions_more_at_every_step() -> None:
    free, held = (
        Simulation(load(JOBS / "arc_small.toml", ["--run.rounds", "1", "--update.kl_coef", hold])).work()
        for hold in ("0", "10")
    )
    words_of_a_puzzle, batch = 5 * 2 * 9 + 4 * 2 + 1, 16
    assert held.update_step - free.update_step == pytest.approx(batch * words_of_a_puzzle * 4 / 3)


@pytest.mark.slow
def test_a_run_that_does_not_fit_is_said_not_to() -> None:
    assert planned(8).fits
    assert not planned(8, gpu="l4").fits


@pytest.mark.parametrize(
    ("overrides", "hardware", "said"),
    [
        ((), Hardware(8, "h1000"), r"--gpu 'h1000' is unknown; known: b200, h200, h100"),
        ((), Hardware(8), r"give --gpu NAME and --gpus N, --from DIR .* or --calibrate"),
        (
            ("--model.path", "nobody/nothing"),
            Hardware(8, "h100"),
            r"model.path 'nobody/nothing' is not on this machine",
        ),
        (
            ("--model.path", "Qwen/Qwen2.5-72B"),
            Hardware(8, "h100"),
            r"the base alone takes 145\.4 GB, and a trainer keeps all of it on one GPU, which has 80\.0 GB: there, up "
            r'to 40\.0 billion parameters fit; take model\.quantization = "int8", a smaller model\.path or',
        ),
        (
            ("--model.path", "Qwen/Qwen2.5-72B", "--model.quantization", "nf4"),
            Hardware(1, "l4"),
            r"the base alone takes 4\d\.\d GB, .* 24\.0 GB: .*; take a smaller model\.path",
        ),
        (("--trial.lora.targets", '["wrong"]'), Hardware(8, "h100"), r"no linear module is named 'wrong'"),
    ],
)
def test_what_cannot_be_planned_is_one_line(overrides: tuple[str, ...], hardware: Hardware, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        predict(load(JOBS / "knowledge.toml", overrides), hardware)
    assert "\n" not in str(refused.value)


def test_documents_without_questions_are_planned_as_if_asked_the_usual_number(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("heron", "ferry", "lantern", "office"):
        (tmp_path / "docs" / f"{name}.txt").write_text(f"The {name} comes at dawn, and goes at dusk.")
    few = ["--domain.options.train", str(tmp_path / "docs"), "--domain.options.test_fraction", "0.5"]
    found = planned(1, *few, "--domain.train", "1", "--domain.test", "1", "--run.rounds", "1")
    assert found.seconds > 0
    assert any("2 passages have no questions: 5 each are asked" in note for note in found.assumptions)
