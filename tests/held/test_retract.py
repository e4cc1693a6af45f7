"""One lesson of eight is taken out again: what it taught is gone, and the rest is as the way lets it be."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.cli.app import main
from seal_ray.looking.again import again
from seal_ray.looking.explained import OF_A_LESSON, explain
from seal_ray.looking.held import Shelf
from seal_ray.looking.seen import look
from seal_ray.looking.stages import is_whole
from seal_ray.loop import retract as retracting
from seal_ray.loop.retract import retract
from seal_ray.ops.export import export_adapter
from seal_ray.policy import adapters
from seal_ray.policy.catalogue import Held, catalogue_of, find
from seal_ray.policy.repair import repair_policies
from seal_ray.policy.retraction import RETRACTION, Passage, Retraction, steps_of
from seal_ray.record.continual import by_way, orders
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow, OutcomeRow, PlannedRow, RetractedRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef, Outcome, Trial, UserError
from tests.in_process import CountingCluster

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_process")]


def lesson(folder: Path, name: str) -> Held:
    return find(str(folder), catalogue_of(str(folder)), name)


def taken_out(folder: Path, name: str) -> Retraction:
    return retract(str(folder), lesson(folder, name))


def rows(folder: Path) -> list[RetractedRow]:
    return list(Journal(Store(str(folder))).read(RetractedRow))


def added(adapter: Adapter) -> dict[str, np.ndarray]:
    """What an adapter adds to the weights of each module."""
    return {module: adapter.scale * np.matmul(*reversed(adapter.pair(module))) for module in adapter.modules}


def answers(folder: Path, arm: str, place: int) -> tuple[str, ...]:
    journal = Journal(Store(str(folder)))
    trial = next(row.trial for row in journal.read(PlannedRow) if (row.arm, row.index) == (arm, place))
    return next(row.answers for row in journal.read(OutcomeRow) if row.key == trial)


def test_a_library_without_a_lesson_answers_it_as_the_base_does_and_all_else_as_before(
    mine: Path, in_process: Counter[str]
) -> None:
    in_process.clear()
    found = taken_out(mine, "library/0/lesson-3")
    assert [each.number for each in found.passages if each.out] == [3]
    third = found.passages[2]
    assert third.without == third.base < third.learnt
    assert answers(mine, found.head, 2) == answers(mine, "sequence 0 by library, after 0", 2)
    assert all(each.without == each.learnt for each in found.passages if not each.out)
    assert found.others_keep == 1.0
    assert found.known_before is not None
    assert found.known_before[0] == found.known_before[1]
    assert in_process == Counter(trial=1), "only the third passage is asked, all else is on record"


def test_what_is_said_of_the_run_says_that_a_lesson_is_out(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = taken_out(mine, "library/0/lesson-3")
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(mine)])
    said = "sequence 0 by library without 3 is on record too, and not in the figures above: the other passages keep"
    assert said in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(mine), "--json"])
    (told,) = json.loads(capsys.readouterr().out)["retracted"]
    assert (told["head"], told["others_keep"]) == (found.head, 1.0)


def test_of_stacked_lessons_one_is_subtracted_and_the_others_keep_nearly_all(mine: Path) -> None:
    found = taken_out(mine, "kl/0/lesson-3")
    third, chance = found.passages[2], max(each.base for each in found.passages)
    assert third.learnt > 2 * chance
    assert third.without <= chance, "what the base answers rightly by chance"
    assert found.others_keep is not None
    assert found.others_keep >= 0.95 - 1e-9


def test_what_is_left_of_a_sum_is_the_sum_of_the_others(mine: Path) -> None:
    taken_out(mine, "kl/0/lesson-3")
    store = Store(str(mine))
    left = added(adapters.get(store, AdapterRef(rows(mine)[0].adapter)))
    others = [row for row in steps_of(Journal(store), "kl", 0) if row.step != 3]
    parts = [added(adapters.get(store, AdapterRef(row.learned))) for row in others]
    assert rows(mine)[0].rank == 7 * 16
    assert rows(mine)[0].error < 1e-6
    for module, change in left.items():
        np.testing.assert_allclose(change, sum(part[module] for part in parts), atol=1e-6)


def test_the_record_of_the_order_stays_and_a_lesson_is_taken_out_once(mine: Path, in_process: Counter[str]) -> None:
    before = by_way(orders(Journal(Store(str(mine)))))
    first = taken_out(mine, "kl/0/lesson-3")
    assert by_way(orders(Journal(Store(str(mine))))) == before
    in_process.clear()
    assert taken_out(mine, "kl/0/lesson-3") == first
    assert in_process == Counter()
    both = taken_out(mine, "kl/0/lesson-5")
    assert both.head == "sequence 0 by kl without 3, 5"
    assert [each.out for each in both.passages] == [False, False, True, False, True, False, False, False]
    assert [row.out for row in rows(mine)] == [(3,), (3, 5)]
    assert len({row.version for row in (*rows(mine), *Journal(Store(str(mine))).read(LearntRow))}) == 8 * 2 + 1 + 2


def test_a_lesson_that_another_command_takes_out_meanwhile_stays_out(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = retracting.held_out_tasks

    def late(*given: Any) -> Any:
        monkeypatch.setattr(retracting, "held_out_tasks", drawn)
        taken_out(mine, "library/0/lesson-5")  # begun and ended before this one holds the directory
        return drawn(*given)

    monkeypatch.setattr(retracting, "held_out_tasks", late)
    found = taken_out(mine, "library/0/lesson-3")
    assert [each.number for each in found.passages if each.out] == [3, 5]


def test_whoever_is_killed_has_the_policy_with_the_lesson_and_goes_on_where_it_was(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Counter[str]
) -> None:
    in_process.clear()
    undisturbed = taken_out(Path(shutil.copytree(mine, tmp_path / "undisturbed")), "kl/0/lesson-3")
    asked, done, run_trial = in_process["trial"], 0, CountingCluster.run_trial

    async def dies(self: CountingCluster, trial: Trial) -> Outcome:
        nonlocal done
        outcome = await run_trial(self, trial)
        done += 1
        if done > 4:
            raise UserError("killed here")
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(CountingCluster, "run_trial", dies)
        with pytest.raises(UserError, match="killed here"):
            taken_out(mine, "kl/0/lesson-3")
    assert rows(mine) == [], "nothing is taken out before all is asked"
    assert is_whole(look(Store(str(mine)))), "the run is what it was"
    in_process.clear()
    assert taken_out(mine, "kl/0/lesson-3") == undisturbed
    assert in_process["trial"] < asked, "what was answered before is not asked again"


def test_what_is_left_is_exported_explained_and_asked_again_as_any_policy(mine: Path, tmp_path: Path) -> None:
    taken_out(mine, "kl/0/lesson-3")
    row = rows(mine)[0]
    assert export_adapter(str(mine), str(tmp_path / "out"), "sequence 0 by kl without 3") == row.version
    np.testing.assert_equal(
        added(Adapter.load(tmp_path / "out")), added(adapters.get(Store(str(mine)), AdapterRef(row.adapter)))
    )
    assert "policy of sequence 0 by kl without 3" in (tmp_path / "out/README.md").read_text()
    planned = [each for each in Journal(Store(str(mine))).read(PlannedRow) if each.stage == RETRACTION]
    assert set(again(str(mine), explain(str(mine), planned[2].trial)).same.values()) == {True}
    told = Shelf(str(mine)).tell(lesson(mine, "kl/0/without-3"))
    assert told.held.parents == ("kl/0/after-8",)
    assert told.after is not None


def test_a_library_shares_questions_out_without_the_lesson_too_and_is_explained_so(mine: Path) -> None:
    taken_out(mine, "library/0/lesson-3")
    planned = [each for each in Journal(Store(str(mine))).read(PlannedRow) if each.stage == RETRACTION]
    assert explain(str(mine), planned[0].trial).unknown == OF_A_LESSON
    with pytest.raises(UserError, match="each passage has an adapter of its own there; `seal-ray adapters list"):
        export_adapter(str(mine), str(mine / "out"), "sequence 0 by library without 3")


def test_a_damaged_policy_without_a_lesson_is_set_aside_and_made_again(mine: Path) -> None:
    first = taken_out(mine, "kl/0/lesson-3")
    version = rows(mine)[0].version
    (mine / adapters.folder_of(AdapterRef(rows(mine)[0].adapter)) / "adapter_model.safetensors").write_bytes(b"x")
    (said,) = repair_policies(Store(str(mine)))
    assert said.startswith(f"policy {version}: ")
    assert rows(mine) == []
    assert taken_out(mine, "kl/0/lesson-3") == first


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "joint/0/lesson-8": "what passages taught is in one adapter there, in which none can be told from the others",
        "kl/0/after-8": "is what several passages came to; name a lesson of one",
        "kl/0/lesson-9": "no adapter's name begins with 'kl/0/lesson-9'",
    }.items(),
)
def test_what_cannot_be_taken_out_is_refused_with_the_reason(whole: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        taken_out(whole, name)


def test_a_share_of_next_to_nothing_is_said_as_accuracies_and_of_the_last_passage_nothing_came_later() -> None:
    from seal_ray.looking.taken_out import _said

    def found(*learnt: float, out: int) -> Retraction:
        passages = [Passage(n, "", n == out, 0.0, each, each) for n, each in enumerate(learnt, 1)]
        return Retraction("sequence 0 by kl without 3", "stacked", tuple(passages), None, 0.0)

    assert _said("d", found(0.03, 0.05, 0.9, out=3))[0].endswith(
        "without 3: the other passages have 4.0% at the end and 4.0% now"
    )
    later = "keep 100.0% of what they had; those that came later were learnt on top of what was taken out"
    assert _said("d", found(0.9, 0.9, 0.9, out=2))[0].endswith(later)
    assert _said("d", found(0.9, 0.9, 0.9, out=3))[0].endswith("keep 100.0% of what they had")


def test_the_command_says_what_changed_passage_by_passage(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["adapters", "retract", str(mine), "library/0/lesson-3", "--quiet"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["passage", "base", "at", "the", "end", "now"]
    assert [line.endswith("taken out") for line in lines[1:9]] == [False, False, True, *[False] * 5]
    assert lines[-1] == (
        "sequence 0 by library without 3: the other passages keep 100.0% of what they had; "
        "their lessons are as they were"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["adapters", "retract", str(mine), "library/0/lesson-3", "--quiet", "--json"])
    assert json.loads(capsys.readouterr().out)["others_keep"] == 1.0
