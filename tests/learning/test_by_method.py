"""Documents learnt by one of the methods: what it makes of every passage is one adapter."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.cli.app import main
from seal_ray.domains.knowledge.studied import Studied, StudiedTask
from seal_ray.learning.learn import continued, learnt
from seal_ray.learning.settings import config_for
from seal_ray.methods.base import Desk, Study, find_method
from seal_ray.observe.progress import Silent
from seal_ray.record.account import Account, known_here
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PolicyRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import Message, SelfEdit, UserError
from tests.learning.parts import QUESTIONS, settings, written
from tests.learning.test_learn import model  # noqa: F401  the same tiny one
from tests.servers import ScriptedServer, serving


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with serving(QUESTIONS) as found:
        yield found


@pytest.fixture(scope="module")
def rephrased(model: str, server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Account]:  # noqa: F811
    folder = tmp_path_factory.mktemp("rephrased")
    _, account = learnt(
        [written(folder)], model, folder / "out", Silent(), settings=fast(server), method="rephrase", texts=2
    )
    return folder / "out", account


def fast(server: ScriptedServer) -> list[str]:
    return [*settings(server.url), "--update.optim.epochs", "2"]


def texts_of(directory: Path) -> Counter[str]:
    return Counter(row.task_id for row in Journal(Store(str(directory))).read(SelfEditRow))


def test_so_many_texts_are_written_of_each_passage_and_nothing_is_tried(rephrased: tuple[Path, Account]) -> None:
    directory, account = rephrased
    assert sorted(texts_of(directory).values()) == [2, 2, 2]
    assert (account.passages, account.texts, account.kept, account.trials) == (3, 6, 0, 0)
    (policy,) = Journal(Store(str(directory))).read(PolicyRow)
    written = sum(row.tokens for row in Journal(Store(str(directory))).read(SelfEditRow))
    assert account.steps == policy.steps > 0
    work = f"one adapter trained on {account.examples} examples in {policy.steps} steps, {written} tokens written"
    assert f" minutes of work, {work}; learnt by rephrase with 2 texts of each passage, 6 in all" in account.lines()[-1]
    before = replace(account, examples=0, steps=0)  # as older versions wrote it down
    assert f" minutes of work, {written} tokens written; learnt by rephrase" in before.lines()[-1]
    assert Adapter.load(directory / "adapter").ref.key == account.adapter
    assert {"base", "in-context", "learnt, version 1"} == account.arms.keys()


def test_the_same_again_does_nothing_and_goes_by_the_method_of_before(
    rephrased: tuple[Path, Account], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, account = rephrased
    monkeypatch.setattr("seal_ray.loop.session.open_cluster", None)
    given = [directory.parent / "notes.md"]
    assert learnt(given, "", directory, Silent(), settings=fast(server))[1] == account
    assert continued(str(directory), Silent()) == account


def test_another_method_is_another_version_beside_the_first(
    rephrased: tuple[Path, Account], server: ScriptedServer, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(rephrased[0], tmp_path / "out"))
    given = ([written(tmp_path)], "", directory, Silent())
    said: list[str] = []
    _, more = learnt(*given, settings=fast(server), method="context-distillation", texts=1, say=said.append)
    assert said[0].endswith(", by context-distillation with 1 text of each passage")
    assert (more.version, more.texts) == (2, 3)
    assert Adapter.load(directory / "adapter").ref.key == more.adapter != rephrased[1].adapter
    assert known_here(str(directory)).method == "context-distillation with 1 text of each passage"
    _, plain = learnt(*given, settings=fast(server), method="passage")
    assert (plain.version, plain.texts) == (3, 0)
    assert texts_of(directory) == texts_of(rephrased[0]) + Counter(dict.fromkeys(texts_of(directory), 1))
    _, back = learnt(*given, settings=fast(server), method="rephrase", texts=2)
    assert (back.version, back.adapter) == (1, rephrased[1].adapter), "what was known before is on record"


def test_a_directory_that_was_learnt_otherwise_is_not_learnt_by_a_method_unasked(
    rephrased: tuple[Path, Account], server: ScriptedServer
) -> None:
    directory, account = rephrased
    with pytest.raises(UserError, match=r"another config \(update.optim.epochs: 2 -> 10\)"):
        learnt([directory.parent / "notes.md"], "", directory, Silent(), settings=settings(server.url), method="qa")
    assert known_here(str(directory)) == account
    assert recorded_config(str(directory)).evaluation.methods == ("rephrase",)


@pytest.mark.parametrize("name", ["seal", "in-context", "retrieval", "past", "external:somewhere"])
def test_what_makes_no_adapter_of_texts_is_refused_before_anything_is_touched(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--method {name}: give one that makes an adapter of texts"):
        learnt([written(tmp_path)], "microworld", tmp_path / "out", Silent(), method=name)
    assert not (tmp_path / "out").exists()


def test_a_method_that_there_is_not_is_refused_with_those_that_there_are_the_nearest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["learn", str(written(tmp_path)), "--into", str(tmp_path / "out"), "--method", "rephrased"])
    _, named = capsys.readouterr().err.split("--method rephrased: give one that makes an adapter of texts, ")
    able = named.removeprefix("the nearest first: ").split()
    assert able[0] == "rephrase,"
    assert not {"seal,", "in-context,", "retrieval,", "generated,", "past,"} & set(able)
    with pytest.raises(UserError, match="the nearest first: qa, "):
        learnt([written(tmp_path)], "microworld", tmp_path / "out", Silent(), method="QA")
    with pytest.raises(UserError, match=r"'own\.methods:Missing' cannot be imported"):
        learnt([written(tmp_path)], "microworld", tmp_path / "out", Silent(), method="own.methods:Missing")


def test_a_number_of_texts_without_a_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--texts 3: is how many a method has written; name one with --method"):
        learnt([written(tmp_path)], "microworld", tmp_path / "out", Silent(), texts=3)
    assert not (tmp_path / "out").exists()


def test_a_text_for_which_there_was_no_room_is_not_counted_as_written(tmp_path: Path, server: ScriptedServer) -> None:
    long = tmp_path / "long.md"
    long.write_text(" ".join(f"House {n} is by the river." for n in range(20)))
    out = tmp_path / "out"
    _, account = learnt([long], "microworld", out, Silent(), settings=fast(server), method="qa", texts=1)
    assert texts_of(out)
    assert account.texts == 0
    assert account.lines()[-1].endswith("learnt by qa with 1 text of each passage, 0 in all")


def test_without_a_method_the_config_is_what_it_was() -> None:
    usual, by_qa = config_for("out", "microworld"), config_for("out", "microworld", method="qa", texts=3)
    assert not usual.evaluation.methods
    assert (by_qa.evaluation.methods, by_qa.evaluation.texts) == (("qa",), (3,))
    assert (usual.update.optim.epochs, by_qa.update.optim.epochs) == (1, 10)
    assert replace(by_qa, evaluation=usual.evaluation, trial=usual.trial, update=usual.update) == usual


PAIRS = "Who keeps the house?\nAnswer: Isolde Wren\n\nQuestion 2: What is burnt there?\nAnswer: oil of rape"


def pairs_by(name: str) -> tuple[StudiedTask, Study]:
    """What a method makes of a passage when these questions are written, one of which is only reported."""
    domain = Studied(Studied.Options(train="unread.jsonl", chat=True))
    bare = StudiedTask("lantern", "The Lantern House", "Isolde Wren keeps the house and burns oil of rape.", ())
    task = domain.asked(bare, [], [("What is burnt there?", "oil")])

    async def write(style: object, task: object, index: int) -> SelfEdit:
        return SelfEdit("lantern", index, 0, "", PAIRS, seed=index)

    return task, asyncio.run(find_method(name, domain).study(task, 1, Desk(domain, write)))


def test_questions_are_learnt_as_turns_and_none_that_is_reported() -> None:
    task, study = pairs_by("qa")
    assert study.trial.recipe
    first, passage = study.trial.recipe.examples
    assert (first.prompt, first.completion) == ((Message("user", "Who keeps the house?"),), "Isolde Wren")
    assert passage.completion == f"{task.title}\n{task.context}"


def test_a_reply_is_distilled_from_its_question_with_the_passage_before_it() -> None:
    task, study = pairs_by("context-distillation-qa")
    assert study.trial.recipe
    first, passage = study.trial.recipe.examples
    assert first.teacher == (Message("user", f"{task.title}\n{task.context}\n\nWho keeps the house?"),)
    assert isinstance(passage.teacher, str)
