"""The knowledge domain: its splits, prompts, recipes, baselines and grades."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from seal_ray.domains.knowledge.domain import MAX_COMPLETION, PLAIN, SYNTHETIC, Knowledge
from seal_ray.domains.knowledge.questions import parse_questions
from seal_ray.domains.knowledge.styles import STYLES
from seal_ray.grading.base import F1, Exact
from seal_ray.types import DataError, Example, LoraSpec, Message, UserError, last_turn


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "title": "Stars",
            "context": f"Star {n} is {n} years old.",
            "questions": [{"question": f"How old is star {n}?", "answer": f"{n} years"}],
        }
        for n in range(start, start + count)
    ]


def save(path: Path, entries: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


def knowledge(tmp_path: Path, entries: int = 40, **options: Any) -> Knowledge:
    source = save(tmp_path / "stars.jsonl", rows(entries))
    return Knowledge(Knowledge.Options(train=source, **options), grader=Exact())


def test_a_split_of_one_source_is_disjoint_and_does_not_depend_on_the_seed(tmp_path: Path) -> None:
    domain = knowledge(tmp_path)
    train = {task.id for task in domain.tasks("train", None, 1)}
    test = {task.id for task in domain.tasks("test", None, 1)}
    assert len(train) + len(test) == 40
    assert not train & test
    assert 2 <= len(test) <= 16
    assert test == {task.id for task in domain.tasks("test", None, 2)}
    other = knowledge(tmp_path, split_seed=1)
    assert test != {task.id for task in other.tasks("test", None, 1)}


def test_a_longer_list_of_tasks_starts_with_the_shorter_one(tmp_path: Path) -> None:
    domain = knowledge(tmp_path)
    every = domain.tasks("train", None, 3)
    assert list(domain.tasks("train", 7, 3)) == every[:7]
    assert list(domain.tasks("train", 7, 4)) != every[:7]


def test_an_entry_that_stands_twice_in_a_source_is_two_tasks_as_ever_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (twice, *others), otherwise = rows(6), {"questions": [{"question": "Is it old?", "answer": "no"}]}
    source = save(tmp_path / "twice.jsonl", [twice, *others, twice, others[0] | otherwise])
    domain = Knowledge(Knowledge.Options(train=source, test_fraction=0.0), grader=Exact())
    once, again = sorted(task.id for task in domain.tasks("train", None, 1) if task.context == twice["context"])
    assert again == f"{once}-2", "runs on record call them so"
    domain.tasks("train", None, 2)
    assert f"{source}: 1 of the 8 train passages repeat an entry" in caplog.text
    assert caplog.text.count("repeat an entry") == 1, "that of which other things are asked is no repetition"


def test_tasks_may_come_in_the_order_of_the_source(tmp_path: Path) -> None:
    domain = knowledge(tmp_path, shuffle=False, test_fraction=0.0)
    assert [task.context for task in domain.tasks("train", 3, 9)] == [row["context"] for row in rows(3)]


def test_sources_for_each_split_must_not_share_a_passage(tmp_path: Path) -> None:
    train, apart = save(tmp_path / "a.jsonl", rows(5)), save(tmp_path / "b.jsonl", rows(5, start=5))
    domain = Knowledge(Knowledge.Options(train=train, test=apart), grader=Exact())
    assert len(domain.tasks("train", 5, 0)) == len(domain.tasks("test", 5, 0)) == 5
    shared = save(tmp_path / "c.jsonl", rows(5, start=4))
    with pytest.raises(UserError, match="both hold the passage 'stars-"):
        Knowledge(Knowledge.Options(train=train, test=shared), grader=Exact()).tasks("train", 2, 0)


def test_asking_for_more_passages_than_there_are_says_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stars\.jsonl: holds 3 train passages; 5 were asked for"):
        knowledge(tmp_path, entries=3, test_fraction=0.0).tasks("train", 5, 0)


def test_a_share_that_holds_nothing_out_is_told_with_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds 0 test passages; each is held out with a chance of 0\.01"):
        knowledge(tmp_path, entries=3, test_fraction=0.01).tasks("test", None, 0)


def test_entries_that_are_the_very_same_get_ids_of_their_own(tmp_path: Path) -> None:
    source = save(tmp_path / "twins.jsonl", rows(1) * 3)
    domain = Knowledge(Knowledge.Options(train=source, test_fraction=0.0), grader=Exact())
    assert len({task.id for task in domain.tasks("train", 3, 0)}) == 3


def test_questions_are_asked_without_the_passage_in_sight(tmp_path: Path) -> None:
    domain = knowledge(tmp_path, test_fraction=0.0, shuffle=False)
    task = domain.tasks("train", 3, 0)[2]
    assert domain.questions(task) == ("Topic: Stars\nQuestion: How old is star 2?\nAnswer:",)
    chat = knowledge(tmp_path, test_fraction=0.0, shuffle=False, chat=True)
    task = chat.tasks("train", 3, 0)[2]
    assert chat.questions(task) == ((Message("user", "Topic: Stars\nHow old is star 2?"),),)
    shown = chat.baseline("in-context", task, 0)
    assert shown is not None
    assert shown.recipe is None
    assert "Star 2 is 2 years old." in shown.questions[0][-1].content  # type: ignore[union-attr]


def test_the_paper_s_questions_have_no_cue_and_their_answers_no_end_of_their_own(tmp_path: Path) -> None:
    cued = knowledge(tmp_path, test_fraction=0.0, chat=False)
    plain = knowledge(tmp_path, test_fraction=0.0, chat=False, question=PLAIN)
    chats = knowledge(tmp_path, test_fraction=0.0, chat=True)
    assert (cued.stop, plain.stop, chats.stop) == (("\n",), (), ())
    (question,) = plain.questions(plain.tasks("train", 1, 0)[0])
    assert str(question).startswith("Topic: Stars\nHow old is star ")


def test_a_self_edit_becomes_its_lines_and_the_passage_last(tmp_path: Path) -> None:
    domain = Knowledge(knowledge(tmp_path).options, lora=LoraSpec(4, 8.0), grader=Exact())
    task = domain.tasks("train", 1, 0)[0]
    recipe = domain.recipe(task, "1. One.\n2. Two.", 0)
    assert [e.completion for e in recipe.examples] == ["Stars\n1. One.", "Stars\n2. Two.", f"Stars\n{task.context}"]
    assert recipe.lora == LoraSpec(4, 8.0)
    assert (recipe.optim.lr, recipe.optim.epochs, recipe.optim.batch_size) == (1e-3, 10, 1)
    only = domain.baseline("passage only", task, 0)
    assert only is not None
    assert only.recipe is not None
    assert only.recipe.examples == recipe.examples[-1:]
    base = domain.baseline("base", task, 0)
    assert base is not None
    assert base.recipe is None
    assert base.questions == domain.questions(task)
    assert domain.baseline("no such baseline", task, 0) is None


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("chat", [False, True])
def test_every_style_shows_the_passage_and_an_echo_of_the_prompt_is_not_trained_on(
    tmp_path: Path, style: str, chat: bool
) -> None:
    domain = knowledge(tmp_path, style=style, chat=chat)
    task = domain.tasks("train", 1, 0)[0]
    prompt = domain.prompt(task)
    assert isinstance(prompt, str) != chat
    text = last_turn(prompt)
    assert task.context in text
    assert task.title in text
    with pytest.raises(DataError, match="only repeats the prompt"):
        domain.recipe(task, text, 0)
    assert domain.recipe(task, f"{text}\nA fact.", 0) == domain.recipe(task, "A fact.", 0)


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ("", "the self-edit is empty"),
        (" \n---\n ", "the self-edit is empty"),
        ("x" * 60_000, f"60000 characters, more than {MAX_COMPLETION}"),
    ],
)
def test_a_completion_that_cannot_be_trained_on_is_named(tmp_path: Path, completion: str, said: str) -> None:
    domain = knowledge(tmp_path)
    task = domain.tasks("train", 1, 0)[0]
    with pytest.raises(DataError, match=said) as caught:
        domain.recipe(task, completion, 0)
    assert task.id in str(caught.value)


def test_questions_and_answers_of_self_qa_stay_together(tmp_path: Path) -> None:
    domain = knowledge(tmp_path, style="self-qa")
    task = domain.tasks("train", 1, 0)[0]
    texts = [e.completion for e in domain.recipe(task, "Who?\nAnswer: A\n\nQuestion 2: When?\nAnswer: B", 0).examples]
    assert texts[:2] == ["Stars\nQuestion 1: Who?\nAnswer: A", "Stars\nQuestion 2: When?\nAnswer: B"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # the second as Windows saves it
def test_a_users_template_takes_the_place_of_the_prompt(tmp_path: Path, encoding: str) -> None:
    template = tmp_path / "mine.txt"
    template.write_text('Facts of {title} as {{"json"}}:\n{context}\n', encoding=encoding)
    domain = knowledge(tmp_path, template=str(template))
    task = domain.tasks("train", 1, 0)[0]
    assert domain.prompt(task) == f'Facts of Stars as {{"json"}}:\n{task.context}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{title}", r"the field \{context\} is missing"),
        ("{context} {passage}", r"unknown field \{passage\}"),
        ("{context.__class__}", "unknown field"),
        ("{context", "write a literal brace twice"),
        (None, "no such template"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    template = tmp_path / "mine.txt"
    if text is not None:
        template.write_text(text)
    with pytest.raises(UserError, match=said):
        knowledge(tmp_path, template=str(template))


def test_self_edits_by_another_model_are_matched_by_their_passage(tmp_path: Path) -> None:
    recorded = [{**row, "completions": [f"By another: {row['context']}"]} for row in rows(1)]
    (tmp_path / "others.json").write_text(json.dumps(recorded))
    options = {"test_fraction": 0.0, "shuffle": False, "other_edits": str(tmp_path / "others.json")}
    domain = knowledge(tmp_path, **options)
    first, second = domain.tasks("train", 2, 0)
    baseline = domain.baseline("self-edits by another model", first, 0)
    assert baseline is not None
    assert baseline.recipe is not None
    assert baseline.recipe.examples[0].completion == "Stars\nBy another: Star 0 is 0 years old."
    assert domain.baseline("self-edits by another model", second, 0) is None


def test_statements_are_the_gold_answers_after_their_questions(tmp_path: Path) -> None:
    domain = knowledge(tmp_path, test_fraction=0.0, shuffle=False)
    (statement,) = domain.statements(domain.tasks("train", 1, 0)[0])
    assert statement == Example(" 0 years", "Topic: Stars\nQuestion: How old is star 0?\nAnswer:", whole=False)
    domain = knowledge(tmp_path, test_fraction=0.0, shuffle=False, question=PLAIN)
    (statement,) = domain.statements(domain.tasks("train", 1, 0)[0])
    assert statement == Example("0 years", "Topic: Stars\nHow old is star 0?\n", whole=False)


def test_the_reward_is_the_mean_verdict_of_the_chosen_grader(tmp_path: Path) -> None:
    domain = Knowledge(knowledge(tmp_path).options, grader=F1())
    task = domain.tasks("train", 1, 0)[0]
    gold = task.questions[0].answer
    assert asyncio.run(domain.grade(task, [gold])).reward == 1.0
    assert asyncio.run(domain.grade(task, ["no idea"])).verdicts == (0.0,)


def test_a_corpus_holds_every_passage_once_with_all_its_usable_self_edits(tmp_path: Path) -> None:
    domain = knowledge(tmp_path)
    first, second = domain.tasks("train", 2, 0)
    recipe = domain.corpus([(first, ["A.\nB.", "", "C."]), (second, [])])
    texts = [e.completion.partition("\n")[2] for e in recipe.examples]
    assert texts == ["A.", "B.", "C.", first.context, second.context]


def test_passages_without_questions_get_synthetic_ones_and_are_marked(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("The first ferry burns rapeseed oil.")
    (folder / "b.txt").write_text("Second facts.")
    domain = Knowledge(Knowledge.Options(train=str(folder), test_fraction=0.0), grader=Exact())
    bare = sorted(domain.tasks("train", None, 0), key=lambda task: task.title)
    with pytest.raises(UserError, match="the passage has no questions"):
        domain.questions(bare[0])
    assert "rapeseed oil." in str(domain.question_prompt(bare[0]))
    task = domain.with_questions(
        bare[0], " What does it burn?\nAnswer: Rapeseed.\n\nQuestion 2: Which ferry is it?\nAnswer: the first"
    )
    assert task
    assert task.context == "The first ferry burns rapeseed oil."
    assert task.family == SYNTHETIC
    assert [(q.prompt, q.answer) for q in task.questions] == [
        ("Topic: a\nQuestion: What does it burn?\nAnswer:", "Rapeseed."),
        ("Topic: a\nQuestion: Which ferry is it?\nAnswer:", "the first"),
    ]
    assert task.id == bare[0].id
    assert domain.question_prompt(task) is None
    assert domain.with_questions(bare[1], "I would rather not.") is None


def test_of_what_a_model_asks_only_that_counts_which_the_passage_answers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry Halvard burns rapeseed oil.")
    domain = Knowledge(Knowledge.Options(train=str(tmp_path / "a.txt"), test_fraction=0.0), grader=Exact())
    (bare,) = domain.tasks("train", None, 0)
    written = {
        "What does the ferry Halvard burn?": "rapeseed oil",
        "So what does the ferry Halvard burn?": "oil",  # again
        "What is the ferry called?": "a ship called Halvard",  # in words of its own
        "Who steers the ferry?": "Ingrid Moe",  # made up
        "Is it a ferry that burns oil?": "Yes",  # a guess
        "What burns in the ferry Halvard?": "the ferry",  # in the question
    }
    lines = [f"Question: {question}\nAnswer: {answer}" for question, answer in written.items()]
    task = domain.with_questions(bare, "\n".join(lines))
    assert task
    assert [question.answer for question in task.questions] == ["rapeseed oil"]
    assert domain.with_questions(bare, "\n".join(lines[2:])) is None


def test_questions_are_read_from_the_usual_ways_of_writing_them() -> None:
    text = "**Q1:** Who?\n**A1:** Ann\n\nQuestion 2. When?\nAnswer 2: 1900\nQuestion 3: No question mark\nAnswer: x"
    assert [q.strip("* ") for q, _ in parse_questions(text)] == ["Who?", "When?"]
    assert len(parse_questions(" Who?\nAnswer: Ann")) == 1
    with pytest.raises(DataError):
        parse_questions("Nothing to ask.")
