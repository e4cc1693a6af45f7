"""Where documents were learnt is a run as well: it is listed, followed and explained as far as its record goes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from seal_ray.learning.learn import learnt
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.looking.listing import runs_below
from seal_ray.looking.seen import look
from seal_ray.looking.watching import Watch
from seal_ray.observe.progress import Silent
from seal_ray.record.storage import Store
from tests.learning.parts import QUESTIONS, settings, written
from tests.servers import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a tiny model has learnt a page."""
    folder = tmp_path_factory.mktemp("documents")
    runpy.run_path(str(Path(__file__).parents[2] / "jobs/tiny_model.py"))["make"](str(folder / "tiny"), 64, 1)
    with serving(QUESTIONS) as server:
        place, _ = learnt(
            written(folder), str(folder / "tiny"), folder / "learnt/page", Silent(), settings=settings(server.url)
        )
    return place


def test_what_was_learnt_is_listed_with_what_was_known_before_and_now(documents: str) -> None:
    (found,) = runs_below(str(Path(documents).parent))
    assert (found.place, found.domain, found.state, found.rounds) == ("page", "documents", "finished", 0)
    assert found.start
    assert found.now


def test_it_has_ended_once_nobody_learns_there(documents: str) -> None:
    hold = Store(documents).lock()
    under_way = Watch(documents).picture()
    assert not under_way.is_over
    assert under_way.left.startswith("left: not known yet; "), "what a learning has still to do is not on record"
    assert "the training on all passages" in under_way.left
    assert under_way.waiting.startswith("waiting for: the training on all passages, or the next stage")
    hold.close()
    picture = Watch(documents).picture()
    assert picture.is_over
    assert "evaluation: learnt, version 1" in {stage.name for stage in picture.stages}
    assert all(stage.done == stage.total for stage in picture.stages)


def test_its_trials_are_told_and_why_they_cannot_be_done_again(documents: str) -> None:
    trials = look(Store(documents)).trials()
    tried = next(key for key, places in trials.items() if places and places[0].stage == "round 1")
    said = lines(documents, explain(documents, tried))
    assert said[1].startswith("task: The Lantern House (the-lantern-house")
    assert said[-1] == "again: not here: questions of documents are put together only while they are learnt"
    nobodys = next(key for key, places in trials.items() if not places)
    assert "note: its questions are no task's" in lines(documents, explain(documents, nobodys))
