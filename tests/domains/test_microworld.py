"""The micro-world: its people and tasks, how self-edits are read, and what the base that ships can and cannot do."""

import asyncio
import json
import random

import pytest

from seal_ray.domains.microworld import BASE, MicroWorld, describe, grammar, world
from seal_ray.plugins import options
from seal_ray.types import DataError, UserError

DOMAIN = MicroWorld()
TASK = DOMAIN.tasks("test", 1, seed=1)[0]


def names(tasks):
    return {fact.name for task in tasks for fact in task.facts}


def test_nobody_is_in_two_groups():
    groups = [{person.name for person in group} for group in world.population().values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 48 * 48


def test_train_and_test_share_nobody_whatever_their_seeds_and_the_base_knows_none_of_them():
    known = {fact.name for facts in world.known_facts() for fact in facts}
    strangers = {person.name for person in world.population()["free"]}
    train, test = names(DOMAIN.tasks("train", None, seed=1)), names(DOMAIN.tasks("test", None, seed=2))
    assert len(train) > 250
    assert len(test) > 250
    assert not train & test
    assert not (train | test) & (known | strangers)


def test_the_same_seed_gives_the_same_tasks_and_another_seed_others():
    assert DOMAIN.tasks("train", 20, seed=3) == DOMAIN.tasks("train", 20, seed=3)
    assert DOMAIN.tasks("train", 20, seed=3) == DOMAIN.tasks("train", 40, seed=3)[:20]
    assert DOMAIN.tasks("train", 20, seed=3) != DOMAIN.tasks("train", 20, seed=4)


def test_a_passage_has_three_people_two_attributes_and_no_name_or_value_twice():
    for task in DOMAIN.tasks("train", None, seed=1):
        people = names([task])
        assert len(people) == 3
        assert len({name.split()[0] for name in people}) == len({name.split()[1] for name in people}) == 3
        assert len(task.facts) == 6 == len({fact.value for fact in task.facts})
        assert len({fact.attribute for fact in task.facts}) == 2


def test_every_fact_is_asked_both_ways_and_every_answer_stands_in_the_passage():
    assert len(TASK.questions) == 12
    assert [q.answer for q in TASK.questions] == [f.value for f in TASK.facts] + [f.name for f in TASK.facts]
    assert all(q.answer in TASK.context and q.answer not in q.prompt for q in TASK.questions)
    forward = MicroWorld(MicroWorld.Options(directions=("forward",))).tasks("test", 1, seed=1)[0]
    assert forward.questions == TASK.questions[:6]


def test_more_tasks_than_there_are_people_for_is_the_users_mistake():
    with pytest.raises(UserError, match="test tasks, 1000 were asked for"):
        DOMAIN.tasks("test", 1000, seed=1)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"direction": ["forward"]},
            r"domain.options.direction: extra inputs are not permitted \(known: directions, contradicts\)",
        ),
        ({"directions": []}, r"domain.options.directions: tuple should have at least 1 item"),
        ({"directions": ["sideways"]}, r"domain.options.directions.0: input should be 'forward' or 'reversed'"),
    ],
)
def test_unknown_options_are_refused(given, complaint):
    with pytest.raises(UserError, match=complaint):
        options("domain.options", MicroWorld.Options, given)


@pytest.mark.parametrize("style", world.STYLES)
def test_a_self_edit_of_every_style_is_recognised_and_becomes_one_text_a_line(style):
    edit = world.self_edit(style, TASK.facts, random.Random(0))
    found = describe(TASK, edit)
    assert found["style"] == style
    assert found["lines"] == len(edit.splitlines())
    assert found["right"] == found["covered"] == (0.0 if style in ("vague", "wrong facts") else 1.0)
    texts = [example.completion for example in DOMAIN.recipe(TASK, edit, seed=0).examples]
    assert texts == TASK.context.splitlines() + edit.splitlines()


def test_a_trial_is_fifteen_steps_on_all_lines_at_once():
    recipe = DOMAIN.recipe(TASK, world.self_edit("questions both ways", TASK.facts, random.Random(0)), seed=0)
    assert (len(recipe.examples), recipe.optim.epochs) == (15, 15)
    assert recipe.optim.batch_size >= len(recipe.examples)


@pytest.mark.parametrize("rubbish", ["Velmo Velmo", ". . .\n\n  :\n", "question: who\nanswer:" * 30, "<b>\x00é\n☃"])
def test_rubbish_is_trained_on_as_it_is_and_described_as_such(rubbish):
    recipe = DOMAIN.recipe(TASK, rubbish, seed=0)
    assert len(recipe.examples) > 3
    assert all(example.completion.strip() for example in recipe.examples)
    assert describe(TASK, rubbish) == {
        "style": "other",
        "lines": describe(TASK, rubbish)["lines"],
        "right": 0.0,
        "covered": 0.0,
    }


@pytest.mark.parametrize("empty", ["", " \n\t\n"])
def test_an_empty_self_edit_is_a_data_error(empty):
    with pytest.raises(DataError, match="empty"):
        DOMAIN.recipe(TASK, empty, seed=0)
    assert describe(TASK, empty)["style"] == "other"


def test_a_half_wrong_self_edit_is_described_by_its_shares():
    facts = list(TASK.facts)
    swapped = [facts[0]._replace(value=facts[2].value), *facts[1:3]]
    edit = "\n".join(world.statement(fact, "reversed", random.Random(0)) for fact in swapped)
    found = describe(TASK, edit)
    assert found["style"] == "reversed facts"
    assert found["right"] == pytest.approx(2 / 3)
    assert found["covered"] == pytest.approx(2 / 6)


def test_baselines_train_on_nothing_or_on_the_passage_alone():
    base, passage = DOMAIN.baseline("base", TASK, 0), DOMAIN.baseline("passage only", TASK, 0)
    assert base
    assert base.recipe is None
    assert len(base.questions) == 12
    assert passage
    assert passage.recipe
    assert [example.completion for example in passage.recipe.examples] == TASK.context.splitlines()
    assert DOMAIN.baseline("no such thing", TASK, 0) is None


def test_grading_takes_the_exact_answer_and_the_reward_is_their_share():
    right = [question.answer for question in TASK.questions]
    answers = [f"  {right[0]} ", right[1] + " indeed", "", right[3].upper(), *right[4:]]
    grade = asyncio.run(DOMAIN.grade(TASK, answers))
    assert grade.verdicts == (1.0, 0.0, 0.0, 0.0, *[1.0] * 8)
    assert grade.reward == pytest.approx(9 / 12)
    with pytest.raises(ValueError, match="11 answers to 12 questions"):
        asyncio.run(DOMAIN.grade(TASK, right[1:]))


@pytest.fixture(scope="module")
def base():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(BASE), AutoTokenizer.from_pretrained(BASE)


def test_the_tokenizer_gives_back_what_it_was_given_without_an_unknown_word(base):
    _, tokenizer = base
    for task in DOMAIN.tasks("train", 20, seed=1):
        for style in world.STYLES:
            text = DOMAIN.prompt(task) + world.self_edit(style, task.facts, random.Random(0)) + "\n"
            ids = tokenizer(text)["input_ids"]
            assert ids[0] == tokenizer.bos_token_id
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.convert_ids_to_tokens(tokenizer("cat.\n\ndog", add_special_tokens=False)["input_ids"]) == [
        "cat", ".", "\n", "\n", "dog"
    ]  # fmt: skip
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}) == 4
    assert set(grammar.words()) <= set(tokenizer.get_vocab())


def test_the_shipped_base_is_small_and_its_check_passed():
    from seal_ray.domains.microworld.pretrain import GATE
    from seal_ray.domains.pretraining import missed

    assert sum(file.stat().st_size for file in BASE.iterdir()) < 8e6
    assert missed(json.loads((BASE / "check.json").read_text()), GATE) == []


@pytest.mark.slow
def test_the_base_copies_faithfully_writes_every_style_and_knows_no_stranger(base):
    from seal_ray.domains.microworld.pretrain import GATE, check
    from seal_ray.domains.pretraining import missed

    figures = check(*base, passages=60, seed=1)
    assert missed(figures, GATE) == []
    assert all(figures[f"writes {style}"] > 0 for style in world.STYLES)
