"""The example that is the whole method runs, on a model made on the spot."""

from pathlib import Path

import numpy as np
import pytest

from examples import minimal_loop
from seal_ray.bank import Bank
from seal_ray.types import Question, Task
from tests.bank.small import make_model, make_tokenizer

TASKS = [
    Task("a", "", "w10 w11 w12 w13 w14", (Question("w10 w11 w12", "w13"), Question("w11 w12 w13", "w14"))),
    Task("b", "", "w20 w21 w22 w23 w24", (Question("w20 w21 w22", "w23"), Question("w21 w22 w23", "w24"))),
]


def test_the_whole_method_on_one_bank_finetunes_the_policy_on_its_best_self_edits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minimal_loop, "EDIT_TOKENS", 8)
    bank, words = Bank(make_model(), make_tokenizer(), slots=10), make_tokenizer()
    before, rewards = "", []
    for key, edits in minimal_loop.seal(bank, words, TASKS, rounds=2):
        assert len(edits) == len(TASKS) * minimal_loop.CANDIDATES
        best = [max((e for e in edits if e.task is task), key=lambda e: e.reward) for task in TASKS]
        now, then = (np.mean(np.concatenate(bank.log_probs([e.tokens for e in best], base))) for base in (key, before))
        assert now > then, "the policy writes its best self-edits more readily than before"
        rewards += [edit.reward for edit in edits]
        before = key
    assert set(bank.residents) == {"policy 1", "policy 2"}
    assert min(rewards) < max(rewards), "self-edits were told apart"


def test_it_is_short_enough_to_be_read_at_once() -> None:
    assert len(Path(minimal_loop.__file__).read_text().splitlines()) <= 80
