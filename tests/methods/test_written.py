"""What each method has written of a text, and what it trains on of that."""

import asyncio
from dataclasses import replace

import pytest

from seal_ray.continual import library
from seal_ray.domains.base import Studied
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.domains.microworld.describe import read_line
from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.methods.base import METHODS, Desk, find_method
from seal_ray.methods.budgets import check_trained, trained, within, written
from seal_ray.methods.proposed import lines_of
from seal_ray.types import SelfEdit, UserError

OPTIONS = Knowledge.Options(train="unread.jsonl")
BRIDGE = Passage("The bridge at Ostby", "The bridge was built in 1907 by Ada Quill.", (("When?", "1907"),))


class Scribe:
    """Writes down what it is asked, and answers with lines of its own."""

    def __init__(self, *answers: str) -> None:
        self.prompts: list[str] = []
        self.answers = answers

    async def __call__(self, domain: Studied, task, index: int) -> SelfEdit:
        prompt = domain.prompt(task)
        self.prompts.append(prompt)
        said = next((a for a in self.answers if a.split(":")[0] in prompt), f"answer: line {len(self.prompts)}")
        return SelfEdit(task.id, index, 0, prompt, said.partition(":")[2], seed=index)


def studied(name, texts, scribe, domain=None, passage=BRIDGE):
    domain = domain or Knowledge(OPTIONS)
    task = domain.task(passage)
    return task, asyncio.run(find_method(name, domain).study(task, texts, Desk(domain, scribe, [task])))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_on_the_text_and_on_all_that_was_written_of_it(name):
    scribe = Scribe()
    task, study = studied(name, 3, scribe)
    recipe, texts = study.trial.recipe, [example.completion for example in getattr(study.trial.recipe, "examples", ())]
    if name in ("in-context", "retrieval", "retrieval-3"):
        assert recipe is None
        assert all("1907" in prompt for prompt in study.trial.questions)
        return
    assert study.trial.questions == Knowledge(OPTIONS).questions(task)
    if name in ("generated", "generated-qa"):
        assert (recipe, study.edits, scribe.prompts) == (None, (), [])
        return
    assert texts[-1] == f"{task.title}\n{task.context}"
    if name in ("passage", "past", "generated-start"):
        assert len(texts) == 1
        assert not study.edits
    else:
        trained_on = [edit for edit in study.edits if any(edit.completion.strip() in text for text in texts)]
        assert len(trained_on) == 3 == len(texts) - 1


FERRY = Passage("The ferry at Ostby", "The ferry was sunk in 1911 by a storm.", (("Who built the bridge?", "Ada"),))


def test_before_a_question_stands_the_passage_that_shares_most_with_it_and_its_own_is_counted():
    domain = Knowledge(OPTIONS)
    tasks = [
        domain.task(replace(BRIDGE, questions=(("When was it built?", "1907"), ("A storm?", "no")))),
        domain.task(FERRY),
    ]
    desk = Desk(domain, Scribe(), tasks)
    bridge, ferry = (asyncio.run(find_method("retrieval", domain).study(task, 0, desk)) for task in tasks)
    assert ["1907" in prompt for prompt in bridge.trial.questions] == [True, False]
    assert (bridge.found, ferry.found) == (0.5, 0.0)
    both = asyncio.run(find_method("retrieval-3", domain).study(tasks[0], 0, desk))
    assert both.found == 1.0
    assert both.trial.questions[0].index("1911") < both.trial.questions[0].index("1907"), "the closest comes last"
    assert bridge.trial.recipe is both.trial.recipe is None


def test_passages_are_read_once_for_all_the_questions_about_all_of_them(monkeypatch):
    domain, read = Knowledge(OPTIONS), []
    monkeypatch.setattr(library, "_terms", lambda text, terms=library._terms: read.append(text) or terms(text))
    tasks = [domain.task(passage) for passage in (BRIDGE, FERRY)]
    desk = Desk(domain, Scribe(), tasks)
    for task in tasks:
        asyncio.run(find_method("retrieval", domain).study(task, 0, desk))
    texts = [f"{task.title}\n{task.context}" for task in tasks]
    assert [text for text in read if text in texts] == texts


def test_seven_prompts_get_equal_shares():
    scribe = Scribe()
    studied("spa", 14, scribe)
    assert len(set(scribe.prompts)) == 7
    assert all(scribe.prompts.count(prompt) == 2 for prompt in scribe.prompts)


def test_strategies_are_proposed_and_then_each_is_carried_out():
    scribe = Scribe("Propose ways: 1. make a timeline\n2. compare it with a ferry\n2. compare it with a ferry")
    studied("active-reading", 3, scribe)
    proposal, *carried_out = scribe.prompts
    assert "Propose ways" in proposal
    assert ["timeline" in prompt for prompt in carried_out] == [True, False, True]
    assert ["ferry" in prompt for prompt in carried_out] == [False, True, False]


def test_every_two_of_the_named_things_are_written_about():
    scribe = Scribe("and nothing else: 1. the bridge\n2. Ada Quill\n3. 1907")
    studied("entigraph", 3, scribe)
    pairs = {"the bridge; Ada Quill", "the bridge; 1907", "Ada Quill; 1907"}
    assert {pair for pair in pairs if any(pair in prompt for prompt in scribe.prompts[1:])} == pairs


@pytest.mark.parametrize("name", ["active-reading", "entigraph"])
def test_where_nothing_is_proposed_the_title_is_written_about(name):
    scribe = Scribe("Below is a passage. Propose:", "Below is a passage. List the people:")
    studied(name, 2, scribe)
    assert all("The bridge at Ostby" in prompt.split("\n\n")[0] for prompt in scribe.prompts[1:])


def test_lists_are_read_with_or_without_numbers():
    assert lines_of("1. one\n2) two\n- three\n\n* four\none") == ["one", "two", "three", "four"]


def test_distilled_texts_are_those_of_the_method_below_with_the_passage_for_a_teacher():
    (_, plain), (task, taught) = (studied(name, 2, Scribe()) for name in ("untrained", "context-distillation"))
    assert taught.edits == plain.edits
    assert [replace(example, teacher="") for example in taught.trial.recipe.examples] == [*plain.trial.recipe.examples]
    assert all(task.context in example.teacher for example in taught.trial.recipe.examples)
    assert taught.trial.recipe.objective.name == "distilled"


def test_a_text_that_cannot_be_used_is_left_out_and_still_counted_as_written():
    task, study = studied("untrained", 2, Scribe("What follows:   "))
    assert len(study.edits) == 2
    assert [example.completion for example in study.trial.recipe.examples] == [f"{task.title}\n{task.context}"]


def test_what_a_domain_cannot_be_asked_for_is_refused():
    with pytest.raises(UserError, match=r"'active-reading' cannot be had in the domain 'microworld', .*leave it out"):
        find_method("active-reading", MicroWorld())
    with pytest.raises(UserError, match="no text that can be studied"):
        find_method("passage", object())


@pytest.mark.parametrize("style", ["copy", "facts", "reversed facts", "questions", "reversed questions"])
def test_a_style_of_the_micro_world_begins_as_its_lines_do(style):
    domain = MicroWorld()
    for task in domain.tasks("test", 8, 1):
        opening = domain.in_style(style).prompt(task).removeprefix(domain.prompt(task))
        (line,) = domain.in_style(style).pieces(task, "and so on.")
        assert line.completion == f"{opening} and so on."
        assert any(read_line(each).kind == style for each in continued(opening, task)), opening


def continued(opening, task):
    """All lines of the world about the task's facts that begin so."""
    from seal_ray.domains.microworld.grammar import GRAMMAR, QUESTION
    from seal_ray.domains.microworld.world import entries

    lines = [*entries(task.facts)]
    for fact in task.facts:
        grammar, own = GRAMMAR[fact.attribute], {"name": fact.name, "value": fact.value}
        for direction, answer in (("forward", fact.value), ("reversed", fact.name)):
            lines += [phrase.format(**own) for phrase in grammar.states[direction]]
            lines += [f"{QUESTION.format(ask=ask.format(**own))} {answer}." for ask in grammar.asks[direction]]
    return [line for line in lines if line.startswith(opening)]


@pytest.mark.parametrize(("budget", "texts"), [(0, 0), (9, 0), (10, 1), (99, 9), (100, 10)])
def test_a_budget_is_filled_with_texts_and_never_passed(budget, texts):
    _, (taken, study) = within_budget("untrained", budget, [10] * 30)
    assert taken == texts == len(study.edits)
    assert len(study.trial.recipe.examples) == texts + 1


def test_a_budget_ends_at_the_first_text_that_does_not_fit_and_for_texts_of_nothing():
    assert within_budget("untrained", 100, [1, 1, 1, 98, *[1] * 20])[1][0] == 3
    assert within_budget("untrained", 7, [0] * 20)[1][0] == 7


def test_what_is_proposed_counts_as_written():
    _, (texts, study) = within_budget("active-reading", 35, [10] * 20)
    assert (texts, len(study.edits)) == (2, 3)


def words_of(text):
    return len(text.split())


@pytest.mark.parametrize(("budget", "texts"), [(13, 0), (17, 0), (18, 1), (62, 9), (63, 10)])
def test_a_budget_of_trained_tokens_is_over_all_epochs_and_holds_the_passage_too(budget, texts):
    epochs = Knowledge(OPTIONS).optim.epochs
    _, (taken, study) = within_budget("untrained", epochs * budget, [1] * 30, trained(words_of))
    assert taken == len(study.edits) == texts
    assert sum(words_of(example.completion) for example in study.trial.recipe.examples) == 13 + 5 * texts


def test_a_budget_of_trained_tokens_ends_for_texts_that_cannot_be_trained_on():
    epochs = Knowledge(OPTIONS).optim.epochs
    _, (taken, study) = within_budget("untrained", epochs * 50, [10] * 30, trained(words_of), said=" ")
    assert (taken, len(study.trial.recipe.examples)) == (5, 1)


def test_a_budget_that_a_passage_itself_has_no_room_in_is_refused():
    domain = Knowledge(OPTIONS)
    with pytest.raises(UserError, match=r"9 tokens are fewer than the text of .* itself trains on .*, 100; give no"):
        check_trained(9, domain, [domain.task(BRIDGE)], lambda text: 10.0)


def within_budget(name, budget, lengths, tokens=written, said=None):
    async def write(domain, task, index):
        proposes = "Propose ways" in domain.prompt(task)
        text = f"{index}" if said is None else said
        return SelfEdit(task.id, index, 0, "", text, seed=index, tokens=lengths[index], name=f"{proposes} {index}")

    domain = Knowledge(OPTIONS)
    task = domain.task(BRIDGE)
    return task, asyncio.run(within(budget, tokens, find_method(name, domain), task, Desk(domain, write)))


def test_where_one_text_cannot_be_written_the_others_are_given_up():
    begun, given_up, last = [], [], asyncio.Event()

    async def write(domain, task, index):
        begun.append(index)
        if index == 2:
            raise UserError("no server is left")
        try:
            await last.wait()
        except asyncio.CancelledError:
            given_up.append(index)
            raise

    with pytest.raises(UserError, match="no server is left"):
        studied("rephrase", 3, write)
    assert (begun, given_up) == ([0, 1, 2], [0, 1])
