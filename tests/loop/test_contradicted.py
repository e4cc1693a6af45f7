"""Passages in turn that say otherwise than the base knows, or than a passage before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.domains.microworld import world
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.microworld.world import MicroTask
from seal_ray.loop.contradicted import contradicted
from seal_ray.loop.run import run
from seal_ray.record.continual import by_way, orders, print_continual
from seal_ray.record.contradicted import EARLIER, THIRDS
from seal_ray.record.journal import Journal
from seal_ray.record.rows import ContradictedRow
from seal_ray.record.storage import Store
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.report.turns import turns
from seal_ray.types import Question, Task, UserError
from tests.runs import small_run

KNOWN = {(fact.name, fact.attribute): fact.value for facts in world.known_facts() for fact in facts}
OTHERWISE = MicroWorld(MicroWorld.Options(contradicts=True, directions=("forward",)))


def held_out(count: int | None) -> Sequence[MicroTask]:
    return OTHERWISE.tasks("test", count, 1)


def passage(name: str, **answers: str) -> Task:
    return Task(
        name, name, name, tuple(Question(f"where is the {thing}?", answer) for thing, answer in answers.items())
    )


def test_passages_say_another_thing_of_people_whom_the_base_knows_and_the_last_two_of_eight_once_more() -> None:
    tasks = held_out(16)
    assert tasks == held_out(None)[:16]
    for task in tasks:
        assert all(KNOWN[fact.name, fact.attribute] != fact.value for fact in task.facts)
        assert list(OTHERWISE.held_before(task)) == [KNOWN[fact.name, fact.attribute] for fact in task.facts]
    people = [{fact.name for fact in task.facts} for task in tasks]
    assert (people[6], people[7], people[14]) == (people[0], people[1], people[8])
    assert len(set().union(*people)) == 3 * 12
    for first, again in ((0, 6), (1, 7), (8, 14)):
        assert [q.prompt for q in tasks[first].questions] == [q.prompt for q in tasks[again].questions]
        assert all(a.value != b.value for a, b in zip(tasks[first].facts, tasks[again].facts, strict=True))
    asked = {fact.name for task in held_out(None) for fact in task.facts}
    assert not any(name in str(prompt) for prompt in OTHERWISE.practice() for name in asked), "none is practised"
    assert not any(name in str(q.prompt) for task in OTHERWISE.known_before() for q in task.questions for name in asked)
    assert [task.facts for task in OTHERWISE.tasks("train", 2, 1)] == [
        t.facts for t in MicroWorld().tasks("train", 2, 1)
    ]
    with pytest.raises(UserError, match="test tasks, 1000 were asked for"):
        held_out(1000)


def test_what_an_earlier_passage_answers_otherwise_goes_before_what_the_base_does() -> None:
    first, _, *_, again, _ = held_out(8)
    rows = list(contradicted(OTHERWISE, [first, again]))
    assert [(row.place, row.earlier) for row in rows] == [(0, -1)] * 6 + [(1, 0)] * 6
    assert [row.answer for row in rows] == [KNOWN[f.name, f.attribute] for f in first.facts] + [
        f.value for f in first.facts
    ]
    turned = list(contradicted(OTHERWISE, [again, first]))
    assert [(row.place, row.earlier) for row in turned] == [(0, -1)] * 6 + [(1, 0)] * 6, "whichever comes later"


def test_in_any_domain_the_same_question_with_another_answer_is_a_contradiction() -> None:
    order = [
        passage("a", inn="Velmo", mill="Tarrin"),
        passage("b", inn="Velmo"),
        passage("c", mill="Ostby", inn="Quill"),
    ]
    rows = list(contradicted(MicroWorld(), order))
    assert [(r.place, r.question, r.answer, r.earlier, r.earlier_question) for r in rows] == [
        (2, 0, "Tarrin", 0, 1),
        (2, 1, "Velmo", 1, 0),
    ]
    strangers = MicroWorld(MicroWorld.Options(directions=("forward",)))
    assert list(contradicted(strangers, strangers.tasks("test", 8, 1))) == [], "of whom nothing was known"


def test_a_passage_that_asks_a_question_twice_contradicts_others_and_not_itself() -> None:
    asked = passage("a", inn="Velmo").questions[0]
    twice = replace(passage("a"), questions=(asked, replace(asked, answer="Tarrin")))
    assert list(contradicted(MicroWorld(), [twice])) == []
    rows = list(contradicted(MicroWorld(), [passage("b", inn="Quill"), twice, passage("c", inn="Ostby")]))
    assert [(r.place, r.question, r.answer) for r in rows] == [(1, 0, "Quill"), (1, 1, "Quill"), (2, 0, "Tarrin")]


@pytest.mark.slow
def test_a_run_tells_how_much_was_overridden_by_how_firmly_it_was_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_turn = [
        *("--workers.address", "in-process", "--run.rounds", "0", "--evaluation.samples", "0"),
        *("--evaluation.baselines", "[]", "--continual.sequences", "1", "--continual.order", "given"),
        *("--domain.test", "8", "--continual.passages", "8", "--continual.ask_every", "8"),
        *("--domain.options.contradicts", "true", "--domain.options.directions", '["forward"]'),
    ]
    config = small_run(
        tmp_path / "run", *in_turn, "--continual.ways", '["none", "library"]', "--trial.optim.epochs", "12"
    )
    for _ in range(2):  # the second time all of it is on record
        run(config)
    journal = Journal(Store(config.dir))
    rows = list(journal.read(ContradictedRow))
    assert len(rows) == len({row.key for row in rows}) == 6 * 8
    firm = [row.firmness for row in rows if row.firmness is not None]
    assert len(firm) == 6 * 6
    assert all(0.5 < each <= 1.0 for each in firm), "the base knows them by heart"
    table = by_way(orders(journal))
    for way, row in table.items():
        parts = row["contradicted"]
        assert [part["what"] for part in parts] == [*THIRDS, EARLIER]
        assert sum(part["facts"] for part in parts) == 36, "what a later passage says once more counts there"
        firmness = [part["firmness"] for part in parts[:3]]
        assert firmness == sorted(firmness)
        assert (max(part["overridden"] for part in parts) == 0.0) == (way == "none"), "untrained, the base is answered"
    assert table["library"]["contradicted"][-1]["overridden"] > 0.5, "the later lesson answers"
    print_continual(table)
    assert "most firm" in " ".join(capsys.readouterr().out.split())
    assert {turn.way: len(turn.contradicted) for turn in turns(journal)} == {"none": 4, "library": 4}
    found = read_run(config.dir)
    one, other = found.turns
    for told in ((one, other), (replace(one, contradicted=()), other)):  # the questions of all may be shared out
        page = render(replace(found, turns=told))
        assert page.partition("Facts overridden, by way")[2].partition("</table>")[0].count("<td>") == 2 * 4
