"""A task's questions, shared out to several who answer them."""

import asyncio

from seal_ray import grading
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.loop.continual import _parts

BRIDGE = Passage(
    "The bridge", "Ada Quill built it in 1907.", (("Who?", "Ada Quill"), ("When?", "1907"), ("What?", "it"))
)


def test_the_questions_of_a_passage_are_graded_by_their_own_answers_wherever_they_are_asked():
    domain = Knowledge(Knowledge.Options(train="unread.jsonl"), grader=grading.load("exact"))
    parts = _parts(domain.task(BRIDGE), [4, None, 4])
    assert [question.answer for question in parts[4].questions] == ["Ada Quill", "it"]
    assert parts[4].asked == ("Who?", "What?")
    assert asyncio.run(domain.grade(parts[4], ["Ada Quill", "a bridge"])).verdicts == (1.0, 0.0)
    assert asyncio.run(domain.grade(parts[None], ["1907"])).verdicts == (1.0,)


def test_a_task_whose_questions_all_go_to_one_is_asked_as_it_is():
    task = MicroWorld().tasks("test", 1, 1)[0]
    assert _parts(task, [2] * len(task.questions)) == {2: task}
