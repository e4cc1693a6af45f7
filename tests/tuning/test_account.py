"""What is said of settings that were compared: neither more nor less than the fresh tasks show."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

import pytest

from seal_ray.config import load
from seal_ray.selection.reward import TrialSummary
from seal_ray.tuning.account import OVERLAY, Account, account_of
from seal_ray.tuning.costs import Costs
from seal_ray.tuning.space import Settings
from seal_ray.types import LoraSpec, OptimSpec
from tests.runs import CONFIG

START = Settings(LoraSpec(16, 16.0), OptimSpec(lr=1e-3, epochs=10))
CHEAP = Settings(LoraSpec(4, 8.0), OptimSpec(lr=1e-3, epochs=5))
DEAR = Settings(LoraSpec(16, 16.0), OptimSpec(lr=1e-3, epochs=20))
SAME = Settings(LoraSpec(16, 16.0), OptimSpec(lr=2e-3, epochs=10))
COSTS = Costs.of(load(CONFIG), [START, CHEAP, DEAR, SAME])


def known(values: Sequence[float], problem: str = "") -> dict[str, TrialSummary]:
    return {f"task {n}": TrialSummary(value, problem) for n, value in enumerate(values)}


def compared(*others: tuple[Settings, Sequence[float]], start: Sequence[float] = (0.5,) * 8) -> Account:
    fresh = {START: known(start), **{each: known(values) for each, values in others}}
    return account_of("runs/x-tune", {each: known([0.5, 0.5]) for each in fresh}, fresh, COSTS, 100.0)


def test_more_reward_is_said_with_its_interval_and_its_cost() -> None:
    account = compared((SAME, (0.6, 0.7) * 4))
    assert account.chosen
    assert account.verdict.startswith("15.0 points more (+11.2 to +18.7) at equal cost")
    account = compared((DEAR, (0.6, 0.7) * 4))
    assert "at 2.0 times the FLOPs and as many bytes" in account.verdict


def test_equal_reward_for_less_is_said_with_what_is_saved() -> None:
    account = compared((CHEAP, (0.48, 0.51) * 4))
    assert account.verdict.startswith("equal reward (-1.6 to +0.6) at 52 % fewer FLOPs")
    assert "75 % fewer bytes" in account.verdict


def test_more_reward_goes_before_less_cost() -> None:
    account = compared((CHEAP, (0.48, 0.51) * 4), (DEAR, (0.9, 0.8) * 4))
    assert account.chosen
    assert account.chosen.settings == DEAR


@pytest.mark.parametrize(
    ("settings", "values", "said"),
    [
        (DEAR, (0.49, 0.51) * 4, "not told apart"),
        (CHEAP, (0.2, 0.8) * 4, "not told apart"),
        (CHEAP, (0.4, 0.3) * 4, "15.0 points less"),
        (CHEAP, (0.48, 0.47) * 4, "2.5 points less"),
        (CHEAP, (0.9,) * 5, r"\+40.0 points at .* on too few tasks to say anything"),
    ],
)
def test_what_is_not_shown_changes_nothing(settings: Settings, values: Sequence[float], said: str) -> None:
    account = compared((settings, values), start=(0.5,) * len(values))
    assert account.chosen is None
    assert account.verdict == "nothing that was tried beats the settings it started from"
    assert any(re.search(said, line) for line in account.lines(200))
    assert tomllib.loads(account.overlay)["trial"]["lora"]["rank"] == START.lora.rank


def test_the_lines_to_paste_are_a_file_of_settings() -> None:
    account = compared((CHEAP, (0.5,) * 8))
    assert account.overlay.startswith(OVERLAY)
    assert tomllib.loads(account.overlay)["trial"] == {
        "lora": {"rank": 4, "alpha": 8.0, "targets": ["q_proj", "v_proj"]},
        "optim": {"lr": 1e-3, "epochs": 5, "batch_size": 1},
    }


def test_the_table_has_who_failed_and_who_is_on_the_front() -> None:
    raced = {START: known([0.5] * 6), CHEAP: known([0.5] * 6), DEAR: known([0.0, 0.0], "no texts")}
    account = account_of("runs/x-tune", raced, {}, COSTS, 100.0)
    titles, first, second, third, *_ = account.lines(120)
    assert titles.split()[:3] == ["rank", "alpha", "targets"]
    assert first.split()[:2] == ["4", "8"]
    assert first.endswith("*")
    assert "50.0% (50.0% – 50.0%)  +0.0" in first
    assert "start" in second
    assert not second.endswith("*")
    assert "failed" in third
    assert "-50.0" in third
    assert "none did better than the start" in list(account.lines(120))[-2]


def test_what_finds_no_room_in_a_line_stands_in_two_and_nothing_is_wider() -> None:
    many = Settings(LoraSpec(128, 256.0, ("q_proj", "k_proj", "v_proj", "o_proj")), OptimSpec(lr=5e-4, epochs=20))
    raced = {START: known([0.5] * 6), many: known([0.0] + [1.0] * 5), DEAR: known([0.0, 0.0], "no texts")}
    costs = Costs.of(load(CONFIG), list(raced))
    account = account_of("runs/x-tune", raced, {START: raced[START], many: raced[many]}, costs, 100.0)
    shown = list(account.lines())
    assert max(map(len, shown)) <= 80
    assert max(map(len, account.overlay.splitlines())) <= 80
    settings, figures = shown[:4], shown[5:9]
    assert settings[0].split() == ["no.", *START.values()]
    assert figures[0].split() == ["no.", "tasks", "reward", "over", "start", "FLOPs", "bytes", "front"]
    assert [line.split()[0] for line in (*settings[1:], *figures[1:])] == ["1", "2", "3"] * 2
    assert settings[1].split()[:4] == ["1", "128", "256", "q+k+v+o"]
    assert "83.3% (" in figures[1]
    narrow = list(account.lines(40))
    assert "no room here for: targets" in narrow
    assert any(line.startswith("no room here for: ") and "bytes" in line for line in narrow)


def test_of_a_model_whose_cost_is_not_worked_out_reward_alone_is_told() -> None:
    unknown = Costs(load(CONFIG), None)
    fresh = {START: known([0.5] * 8), CHEAP: known([0.5] * 8), DEAR: known([0.7] * 8)}
    account = account_of("runs/x-tune", fresh, fresh, unknown, 100.0)
    cheap, dear = account.compared
    assert not cheap.as_good_for_less
    assert dear.said == "20.0 points more (+20.0 to +20.0) at a cost that is not worked out for this model"
    assert list(account.lines(120))[1].split()[-3:-1] == ["–", "–"]
