"""What each way makes of what was learnt, on arrays small enough to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.config import Config
from seal_ray.continual.base import WAYS, Lesson, Stand, find_way
from seal_ray.continual.deltas import HELD, beside, scaled, sparse
from seal_ray.continual.gate import BUDGET, SCALES, Gated
from seal_ray.continual.library import Index, nearest
from seal_ray.continual.texts import BETWEEN, POOL, PRACTISED, REVIEW, spread
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.loop.continual import found_own
from seal_ray.types import BASE, AdapterRef, Example, LoraSpec, Question, Recipe, Task, UserError
from tests.runs import small_run

RANK, IN, OUT = 3, 8, 10
MODULE = "model.layers.0.self_attn.q_proj"


def adapter(seed: int, rank: int = RANK) -> Adapter:
    rng = np.random.default_rng(seed)
    down, up = rng.normal(size=(rank, IN)), rng.normal(size=(OUT, rank))
    return Adapter(rank, float(rank), ("q_proj",), dict(zip(tensor_names(MODULE), (down, up), strict=True)))


def added(of: Adapter | None) -> np.ndarray:
    """What an adapter adds to a module's weights."""
    if of is None:
        return np.zeros((OUT, IN))
    down, up = of.pair(MODULE)
    return of.scale * up @ down


def lesson(number: int, texts: int = 3) -> Lesson:
    task = Task(f"task {number}", f"Title {number}", f"Person{number} lives in Town{number}.", ())
    return Lesson(task, Recipe(tuple(Example(f"text {number}.{i}") for i in range(texts))), BASE)


def stand(head: Adapter | None, *lessons: Lesson, start: Adapter | None = None, asked: bool = True) -> Stand:
    known = {one.ref: one for one in map(adapter, range(9))}
    return Stand(start, head, lessons, known.__getitem__, asked)


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small_run(tmp_path_factory.mktemp("run"))


async def never(adapter: Adapter | None, texts: Sequence[Example]) -> Sequence[float]:
    raise AssertionError("this way measures nothing")


def test_merge_adds_exactly_what_was_learnt_to_what_was_there(config: Config) -> None:
    way = find_way("merge", config)
    whole = asyncio.run(way.enter(stand(adapter(0)), adapter(1), never))
    np.testing.assert_allclose(added(whole), added(adapter(0)) + added(adapter(1)), atol=1e-12)


def test_what_enters_is_compressed_to_the_rank_that_the_config_allows(config: Config) -> None:
    small = replace(config, update=replace(config.update, max_rank=4))
    whole = asyncio.run(find_way("merge", small).enter(stand(adapter(0)), adapter(1), never))
    assert whole is not None
    assert whole.rank == 4


def test_a_way_of_ones_own_lets_half_in(config: Config) -> None:
    found = asyncio.run(find_way("examples.own_way:Half", config).enter(stand(adapter(0)), adapter(1), never))
    np.testing.assert_allclose(added(found), added(adapter(0)) + added(adapter(1)) / 2, atol=1e-12)


def test_a_lesson_may_begin_with_the_earlier_one_that_it_is_most_like(config: Config) -> None:
    def taught(number: int, said: str) -> Lesson:
        return replace(lesson(number), recipe=Recipe((Example(said),)), adapter=adapter(number).ref)

    bees = taught(1, "Bees make honey."), taught(2, "Ships carry salt."), taught(3, "Honey of bees is sweet.")
    now = replace(stand(None, *bees, start=adapter(0)), new=(Example("Sweet is what bees make."),))
    free = replace(config, update=replace(config.update, max_rank=0))
    alone, similar = (find_way(f"examples.own_start:{name}", free) for name in ("Alone", "Similar"))
    np.testing.assert_allclose(added(alone.base(now)), added(adapter(0)))
    below = similar.base(now)
    on_it = sum(added(adapter(number)) for number in (0, 1, 3))
    np.testing.assert_allclose(added(below), on_it, atol=1e-12)
    head = asyncio.run(similar.enter(replace(now, below=below), adapter(4), never))
    np.testing.assert_allclose(added(head), on_it + added(adapter(4)), atol=1e-12)


def test_a_sparse_change_reaches_the_outputs_that_move_most_and_no_others() -> None:
    learned = adapter(0)
    whole, kept = added(learned), added(sparse(learned, 0.2))
    moved = np.linalg.norm(whole, axis=1)
    most = np.argsort(moved)[-2:]
    np.testing.assert_allclose(kept[most], whole[most], atol=1e-12)
    assert not np.delete(kept, most, axis=0).any()


def test_an_orthogonal_change_reads_nothing_that_the_policy_reads_as_far_as_there_is_room() -> None:
    held = adapter(0)
    learned = added(beside(adapter(1), held))
    read = np.linalg.qr(held.pair(MODULE)[0].T)[0]
    assert np.abs(learned @ read).max() < 1e-9 < np.abs(added(adapter(1)) @ read).max()
    full = adapter(2, rank=IN)
    assert np.linalg.matrix_rank(added(beside(adapter(1), full))) == min(RANK, IN - int(HELD * IN)), "room is left"


def test_an_average_follows_as_far_as_old_and_new_texts_together_are_likeliest(config: Config) -> None:
    way, head, learned = find_way("ema", config), adapter(0), adapter(1)
    old, new = replace(lesson(0), adapter=head.ref), lesson(1).recipe.examples

    def which(of_old: float, of_new: float) -> Adapter | None:
        """Old texts are likeliest where nothing follows, new ones where everything does, by so much each."""

        async def likely(one: Adapter | None, texts: Sequence[Example]) -> Sequence[float]:
            far = float(np.linalg.norm(added(one) - added(head)) / np.linalg.norm(added(learned)))
            return [of_new * far if text in new else -of_old * far for text in texts]

        return asyncio.run(way.enter(replace(where, new=new, below=way.base(where)), learned, likely))

    where = stand(head, old)
    np.testing.assert_allclose(added(which(2.0, 1.0)), added(head) + added(learned) / 4, atol=1e-9)
    np.testing.assert_allclose(added(which(1.0, 2.0)), added(head) + added(learned), atol=1e-9)
    np.testing.assert_allclose(added(way.base(where)), added(head), atol=1e-12)


@pytest.mark.parametrize(("budgets", "expected"), [(0.0, 1.0), (0.9, 1.0), (1.5, 0.5), (9.0, 0.0)])
def test_a_gate_lets_in_as_much_as_its_budget_allows(budgets: float, expected: float, config: Config) -> None:
    head, learned = adapter(0), adapter(1)

    async def falls(one: Adapter | None, texts: Sequence[Example]) -> Sequence[float]:
        share = np.linalg.norm(added(one) - added(head)) / np.linalg.norm(added(learned))
        return [-budgets * BUDGET * share for _ in texts]

    found = asyncio.run(Gated(config).enter(stand(head, lesson(0)), learned, falls))
    np.testing.assert_allclose(added(found), added(head) + expected * added(learned), atol=1e-9)
    assert expected in (*SCALES, 0.0)


def test_texts_of_earlier_passages_are_taken_from_all_of_them_alike_and_never_more_than_so_many() -> None:
    lessons = [lesson(number, texts=20) for number in range(8)]
    drawn = spread(lessons, POOL)
    assert len(drawn) == len(set(drawn)) == POOL
    of = [sum(text.completion.startswith(f"text {number}.") for text in drawn) for number in range(8)]
    assert of == [POOL // 8] * 8
    assert drawn == spread(lessons, POOL) != spread([*lessons, lesson(8)], POOL)
    assert spread(lessons[:1], POOL) != () == spread([], POOL)


def test_what_is_replayed_stands_beside_what_is_new_and_the_joint_way_takes_everything(config: Config) -> None:
    new, before = lesson(5).recipe, [lesson(number) for number in range(2)]
    replayed = find_way("replay", config).recipe(stand(None, *before), new)
    assert replayed is not None
    assert replayed.examples[:3] == new.examples
    assert set(replayed.examples[3:]) == {text for each in before for text in each.recipe.examples}
    joint = find_way("joint", config)
    every = joint.recipe(stand(None, *before), new)
    assert every is not None
    assert set(every.examples) == set(replayed.examples)
    assert joint.recipe(stand(None, *before, asked=False), new) is None, "only when all are asked"
    without = joint.recipe(stand(None, *before), None)
    assert without is not None
    assert len(without.examples) == 6, "what came before is learnt, though nothing could be written of the last"
    assert joint.recipe(stand(None), None) is None
    for name in set(WAYS) - {"joint"}:
        assert find_way(name, config).recipe(stand(None, *before), None) is None
    base = joint.base(stand(adapter(1), *before, start=adapter(0)))
    np.testing.assert_array_equal(added(base), added(adapter(0)))


def test_answers_to_what_was_known_are_rehearsed_or_held_to_and_others_each_time(config: Config) -> None:
    known = tuple(Example(f"answer {n}", f"question {n}?", whole=False) for n in range(3 * PRACTISED))
    first, second = (replace(stand(None, *map(lesson, range(count))), practised=known) for count in (1, 2))
    rehearse, held = find_way("rehearse", config), find_way("kl", config)
    assert rehearse.practises
    assert held.practises
    rehearsed = [rehearse.recipe(each, lesson(9).recipe) for each in (first, second)]
    answers = [{text for text in each.examples if text in known} for each in rehearsed if each]
    assert [len(each) for each in answers] == [PRACTISED] * 2
    assert answers[0] != answers[1]
    found = held.recipe(first, lesson(9).recipe)
    assert found is not None
    assert found.examples == lesson(9).recipe.examples
    assert set(found.anchors) == answers[0] | set(lesson(0).recipe.examples)
    alone = held.recipe(stand(None), lesson(9).recipe)
    assert alone is not None
    assert alone.kl_coef == 0.0, "the first passage of a domain that knows nothing has nothing to be held to"


def test_every_tenth_passage_brings_all_that_came_before_back_and_the_others_a_few(config: Config) -> None:
    way, new = find_way("review", config), lesson(99).recipe

    def beside(came: int) -> list[Example]:
        found = way.recipe(stand(None, *map(lesson, range(came))), new)
        assert found is not None
        assert found.examples[:3] == new.examples
        return sorted(found.examples[3:], key=str)

    assert [len(beside(came)) for came in (0, 4, 8, 10, 18)] == [0, 12, BETWEEN, BETWEEN, BETWEEN]
    for came in (REVIEW - 1, 2 * REVIEW - 1):
        all_before = [text for number in range(came) for text in lesson(number).recipe.examples]
        assert beside(came) == sorted(all_before, key=str)


def test_only_the_last_third_of_the_layers_learns(config: Config) -> None:
    recipe = replace(lesson(0).recipe, lora=LoraSpec(targets=("q_proj", "down_proj")))
    for name in ("last-layers", "replay-last-layers", "review"):
        found = find_way(name, config).recipe(stand(None), recipe)
        assert found is not None
        assert found.lora is not None
        assert set(found.lora.targets) == {"model.layers.2.self_attn.q_proj", "model.layers.2.mlp.down_proj"}


def test_nothing_is_learnt_where_nothing_is_to_be(config: Config) -> None:
    assert find_way("none", config).recipe(stand(None), lesson(0).recipe) is None


def test_a_question_finds_the_passage_that_has_its_rare_words_and_one_of_other_things_finds_none() -> None:
    passages = [f"Person{number} lives in Town{number} and works as a baker." for number in range(5)]
    asked = {
        "Where does Person3 live?": 3,
        "Who is at home in Town1?": 1,
        "Who works as a baker?": None,  # all of them do
        "What is the capital of France?": None,
    }
    assert nearest(list(asked), passages) == list(asked.values())
    assert nearest(["Where does Person3 live?"], []) == [None]
    assert [Index(passages).closest(question, 1) for question in list(asked)[:2]] == [[3], [1]]


def test_of_questions_those_count_as_found_that_their_own_lesson_answers(config: Config) -> None:
    def asking(number: int, *questions: str) -> Lesson:
        one = lesson(number)
        return replace(one, task=replace(one.task, questions=tuple(Question(each, "") for each in questions)))

    lessons = [
        asking(0, "Where does Person0 live?", "Where does Person1 live?"),
        asking(1, "Who is at home in Town1?", "What is the capital of France?"),
    ]
    assert found_own(find_way("library", config), lessons) == 0.5, "one finds another's lesson, and one none"
    assert found_own(find_way("merge", config), lessons) is None
    assert found_own(find_way("library", config), [lesson(0)]) is None, "nothing is asked"


def test_a_name_in_capitals_tells_something_though_a_little_word_is_spelled_like_it() -> None:
    passages = [
        "The US declared war in 1812.",
        "A manager hires people for us.",
        "The WHO began in 1948; who knows it?",
    ]
    asked = {
        "What is the US famous for?": 0,
        "Where does the WHO sit?": 2,
        "What does the IT department fix?": None,
        "Who is it?": None,
    }
    assert nearest(list(asked), passages) == list(asked.values())
    assert [len(Index(passages).closest(question, 3)) for question in asked] == [3] * 4


def test_somebody_of_the_same_first_name_is_somebody_else() -> None:
    passages = ["Karim Bunder lives in Velmo.", "Ista Zelt works as a baker.", "The bridge of Velmo is old."]
    asked = {
        "question: where does Karim Bunder live? answer:": 0,
        "question: where does Karim Zelt live? answer:": None,
        "Where does Karim Lovic live?": None,
        "how old is the bridge?": 2,  # where nothing is named, its words must do
    }
    assert nearest(list(asked), passages) == list(asked.values())


def test_words_that_tell_nothing_find_no_passage_though_one_alone_has_them() -> None:
    passages = ["What Luther refused to do is well known.", "Warsaw lies on the Vistula."]
    asked = {
        "What do bees make?": None,
        "What did he refuse to do that is well known?": 0,
        "Which river is on it?": None,
    }
    assert nearest(list(asked), passages) == list(asked.values())
    assert nearest(["What do bees make?"], passages[:1]) == [None]


def test_every_question_of_the_shipped_passages_finds_its_own_and_general_knowledge_none_of_them() -> None:
    options = Knowledge.Options(train=str(Path(__file__).parents[2] / "jobs/passages.jsonl"), test_fraction=0.0)
    domain = Knowledge(options)
    tasks = domain.tasks("train", None, 1)
    texts = [f"{task.title}\n{task.context}" for task in tasks]
    for at, task in enumerate(tasks):
        prompts = [str(question.prompt) for question in task.questions]
        assert nearest(prompts, texts) == [at] * len(prompts), task.title
    (known,) = domain.known_before()
    assert nearest([str(question.prompt) for question in known.questions], texts) == [None] * len(known.questions)


def test_a_library_answers_from_the_lesson_and_leaves_the_policy_as_it_was(config: Config) -> None:
    way, where = find_way("library", config), stand(adapter(1), lesson(0), start=adapter(0))
    np.testing.assert_array_equal(added(way.base(where)), added(adapter(0)))
    np.testing.assert_array_equal(added(asyncio.run(way.enter(where, adapter(2), never))), added(adapter(1)))
    assert way.lessons_for(["Where does Person0 live?", "And who is that?"], [lesson(1), lesson(0)]) == [1, None]


def test_half_of_an_adapter_adds_half_as_much_and_none_of_it_is_none() -> None:
    np.testing.assert_allclose(added(scaled(adapter(0), 0.5)), added(adapter(0)) / 2)
    assert scaled(adapter(0), 0.0) is None is scaled(None, 1.0)


def test_a_way_that_there_is_not_is_refused_with_what_is_near_and_one_of_ones_own_must_be_whole(config: Config) -> None:
    with pytest.raises(UserError, match=r"unknown continual\.ways 'replai'; did you mean 'replay'"):
        find_way("replai", config)
    with pytest.raises(UserError, match=r"has no 'practises', see seal_ray/continual/base\.py"):
        find_way("seal_ray.types:AdapterRef", config)
    assert all(find_way(name, config) for name in WAYS)
    assert AdapterRef() == BASE
