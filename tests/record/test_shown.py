"""A run in object storage is shown by whatever keeps no files there."""

from __future__ import annotations

import pytest

from seal_ray.events import Ended
from tests.observe.test_telling import OUTCOME, PLANNED, Shown, opened

pytestmark = pytest.mark.usefixtures("by_hand")


def test_a_run_in_object_storage_is_continued_as_the_same_run_of_a_tracker(bucket: str) -> None:
    sink = Shown()
    journal, events = opened(bucket, sink)
    events.emit(PLANNED)
    journal.flush()
    events.close()
    _, again = opened(bucket, sink)
    again.emit(OUTCOME)
    again.emit(Ended())
    again.close()
    (shown,) = sink.figures.values()
    assert {(each.name, each.step) for each in shown} == {
        ("tokens/trained", 1),
        ("reward/evaluation/base", 1),
        ("held-out accuracy/base", 0),
    }
    assert sink.ended == [False, True]
