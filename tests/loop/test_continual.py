"""Sequences of passages know nothing of each other, and are learnt side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seal_ray.loop import continual
from seal_ray.loop.run import run
from seal_ray.policy.lineage import adapter_of, lineage
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from tests.runs import results, small_run

ONLY = [
    *("--workers.address", "in-process", "--run.rounds", "0", "--evaluation.samples", "0"),
    *("--evaluation.baselines", "[]", "--continual.sequences", "3", "--continual.passages", "2"),
]


@pytest.mark.slow
def test_side_by_side_sequences_learn_what_each_learns_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(small_run(tmp_path / "beside", *ONLY))
    monkeypatch.setattr(continual, "SEQUENCES_AT_ONCE", 1)
    run(small_run(tmp_path / "alone", *ONLY))
    beside, alone = results(tmp_path / "beside"), results(tmp_path / "alone")
    assert beside == alone
    of_both = [Store(str(tmp_path / name)) for name in ("beside", "alone")]
    one, other = ({h: adapter_of(s, rows[-1]) for h, rows in lineage(Journal(s)).items()} for s in of_both)
    assert one.keys() == other.keys() == {"sequence 0", "sequence 1", "sequence 2"}
    for head, adapter in one.items():
        for name, tensor in adapter.tensors.items():
            np.testing.assert_allclose(tensor, other[head].tensors[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_trials_of_several_sequences_are_in_one_bank_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seal_ray.bank import Bank

    bases: list[frozenset[str]] = []
    step: Callable[..., object] = Bank.step

    def watched(self: Bank) -> object:
        bases.append(self.in_use() - {""})
        return step(self)

    monkeypatch.setattr(Bank, "step", watched)
    run(small_run(tmp_path / "run", *ONLY))
    assert max(map(len, bases)) > 1, "a pass has rows of several policies"
