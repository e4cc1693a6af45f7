"""An update that is stopped goes on where it was kept last, and comes to what it would have come to."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seal_ray.bank.replica import Replica
from seal_ray.loop.run import run
from seal_ray.policy import unfinished
from seal_ray.policy.unfinished import Kept
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PolicyRow
from seal_ray.record.storage import Store
from seal_ray.workers.unfinished import Unfinished
from tests.runs import small_run

UPDATE = Unfinished((2.0, 1.5), tuple(np.full(3, number, np.float32) for number in range(3)))
SETTINGS = ("--workers.address", "in-process", "--run.rounds", "1", "--update.optim.epochs", "5")


def policy(folder: Path) -> PolicyRow:
    (row,) = Journal(Store(str(folder))).read(PolicyRow)
    return row


class Stopped(Exception):
    """What a stop looks like from within."""


def test_one_that_was_stopped_goes_on_to_the_same_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(small_run(tmp_path / "whole", *SETTINGS))
    steps = policy(tmp_path / "whole").steps
    stop, taken, whole = steps - 2, Counter[str](), Replica.step

    def step(self: Replica) -> float:
        if self.standing() == stop and not taken["stopped"]:
            taken["stopped"] += 1
            raise Stopped
        taken["steps"] += 1
        return whole(self)

    monkeypatch.setattr(Replica, "step", step)
    monkeypatch.setattr(unfinished, "_EVERY", 0.0)
    config = small_run(tmp_path / "stopped", *SETTINGS)
    with pytest.raises(Stopped):
        run(config)
    assert len(list((tmp_path / "stopped" / "updates").iterdir())) == 1
    with caplog.at_level(logging.INFO):
        run(config)
    assert f"the update goes on after step {stop} of {steps}" in caplog.text
    assert taken["steps"] == steps, "none was taken twice"
    one, other = policy(tmp_path / "whole"), policy(tmp_path / "stopped")
    assert (one.adapter, one.first_loss, one.last_loss) == (other.adapter, other.first_loss, other.last_loss)
    assert not list((tmp_path / "stopped" / "updates").iterdir()), "what it led to is on record"


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    kept = Kept(Store(str(tmp_path)), "policy")
    assert kept.found() is None
    assert not kept.is_there
    assert not kept.is_due, "a short update is never kept"
    kept.keep(UPDATE)
    found = Kept(Store(str(tmp_path)), "policy").found()
    assert found
    assert found.losses == UPDATE.losses
    np.testing.assert_array_equal(found.numbers, UPDATE.numbers)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:80] + b"?" + data[81:]]
)
def test_what_was_damaged_is_done_again(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(Store(str(tmp_path)), "policy")
    kept.keep(UPDATE)
    (file,) = (tmp_path / "updates").iterdir()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert kept.found() is None
    assert "what was trained begins again" in caplog.text
    kept.forget()
    assert not file.exists()
