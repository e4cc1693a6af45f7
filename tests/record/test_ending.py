"""Why a run stopped before its end is on record until it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.record.ending import FILE, ending, noted
from seal_ray.record.lease import Lost
from seal_ray.record.storage import Store
from seal_ray.stopping import Stopped
from seal_ray.types import UserError


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Stopped("SIGTERM", 143), "SIGTERM"),
        (UserError("round 1: no self-edit\ntaught anything"), "round 1: no self-edit taught anything"),
        (ValueError("a bug"), "ValueError: a bug"),
    ],
)
def test_what_ends_a_run_before_its_time_is_written_down_and_gone_once_it_goes_on(
    tmp_path: Path, error: BaseException, why: str
) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(type(error)), noted(store):
        raise error
    found = ending(store)
    assert found
    assert found.why == why
    assert found.when > 1_700_000_000
    with noted(store):
        assert ending(store) is None
    assert list(tmp_path.iterdir()) == []


def test_a_driver_whose_run_another_has_taken_over_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Lost), noted(Store(str(tmp_path))):
        raise Lost("another driver is at work")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"why": "x", "when": "y"}', b"\xff"])
def test_a_file_that_is_something_else_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert ending(Store(str(tmp_path))) is None
