"""Documents become one adapter: once, whatever is killed, and only what changed is learnt again."""

from __future__ import annotations

import asyncio
import json
import runpy
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.cli.app import main
from seal_ray.learning.learn import continued, learn, learnt
from seal_ray.learning.settings import at_its_rate, config_for
from seal_ray.looking.held import Shelf
from seal_ray.loop.retract import retract
from seal_ray.model.precision import of_this_process
from seal_ray.observe.progress import Silent
from seal_ray.record.account import Account
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import interval
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError
from tests.disks import mounted
from tests.learning.parts import NOTES, QUESTIONS, settings, written
from tests.learning.victim import learns
from tests.servers import ScriptedServer, serving
from tests.warm import FORKING

JOBS = Path(__file__).parents[2] / "jobs"
MOMENTS = (2, 5, 9, 13, 17, 21, 25, 29, 33, 38)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    runpy.run_path(str(JOBS / "tiny_model.py"))["make"](str(folder), hidden=64, layers=1)
    return str(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with serving(QUESTIONS) as found:
        yield found


def known(directory: Path | str) -> str:
    """The hash of what was learnt there."""
    return Adapter.load(Path(directory) / "adapter").ref.key


@pytest.fixture(scope="module")
def quiet(model: str, server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Account]:
    """Documents that were learnt without any disturbance."""
    folder = tmp_path_factory.mktemp("quiet")
    _, account = learnt([written(folder)], model, folder / "out", Silent(), settings=settings(server.url))
    return folder / "out", account


def test_an_adapter_is_made_and_what_it_knows_is_said_in_five_lines(quiet: tuple[Path, Account]) -> None:
    directory, account = quiet
    assert known(directory) == account.adapter
    assert (account.passages, account.version) == (3, 1)
    assert account.questions
    assert {"base", "in-context", "learnt, version 1"} == account.arms.keys()
    lines = account.lines()
    assert [line.partition(":")[0] for line in lines] == ["knew before", "knows now", "reads", "elsewhere", "cost"]
    assert f"of {account.questions} synthetic questions" in lines[0]
    assert all("% (too few to tell)" in line for line in lines[:3]), "of three passages there is no interval"


def test_every_question_that_is_reported_is_shown_with_what_is_right_and_what_was_answered(
    quiet: tuple[Path, Account],
) -> None:
    directory, account = quiet
    journal = Journal(Store(str(directory)))
    given = {row.key: row.answers for row in journal.read(OutcomeRow)}
    now = {row.task_id: given[row.trial] for row in journal.read(PlannedRow) if row.arm == "learnt, version 1"}
    assert len(account.asked) == account.questions
    assert Counter(each["after"] for each in account.asked) == Counter(
        one for answers in now.values() for one in answers
    )
    pages = (directory / "documents.jsonl").read_text()
    assert all(f'"title": "{each["passage"]}"' in pages for each in account.asked)
    shown = "\n".join(account.answers())
    assert all(f"{each['question']}\n  right:  {each['right']}\n  before:" in shown for each in account.asked)


def test_an_interval_is_said_from_six_passages_on(quiet: tuple[Path, Account]) -> None:
    arms = {arm: asdict(interval([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])) for arm in quiet[1].arms}
    assert "knew before: 50% (23% – 77%) of " in replace(quiet[1], arms=arms).lines()[0]


def test_what_was_learnt_is_listed_among_the_adapters_and_no_part_of_it_is_taken_out(
    quiet: tuple[Path, Account],
) -> None:
    directory, account = quiet
    (told,) = Shelf(str(directory)).told()
    assert (told.held.name, told.what, told.held.parents) == ("main/1", "documents, version 1", ("base",))
    assert (told.before, told.after) == tuple(account.arms[arm]["accuracy"] for arm in ("base", "learnt, version 1"))
    assert told.shape.rank == 4
    with pytest.raises(UserError, match="main/1: all that it was trained on is in one adapter"):
        retract(str(directory), told.held)


def test_what_nobody_says_of_the_precision_is_this_machines_to_say(
    model: str, server: ScriptedServer, tmp_path: Path
) -> None:
    left = [*settings(server.url), "--model.dtype", "auto"]
    learnt([written(tmp_path)], model, tmp_path / "out", Silent(), settings=left)
    assert recorded_config(str(tmp_path / "out")).model.dtype == of_this_process().dtype


def test_where_no_question_is_fit_to_be_reported_that_is_said_and_no_figure(quiet: tuple[Path, Account]) -> None:
    told = replace(quiet[1], questions=0, arms={}, asked=()).lines()
    assert [line.partition(":")[0] for line in told] == ["knows now", "elsewhere", "cost"]
    assert "not measured" in told[0]
    assert "--questions.endpoint" in told[0]


def test_what_was_hardly_taught_is_said_with_what_to_try(quiet: tuple[Path, Account]) -> None:
    """Of few short passages a method makes few examples, and one pass over them is a step or two."""
    _, account = quiet
    first, last = account.losses
    said = (
        f"; hardly taught, for the loss went from {first:.2f} to {last:.2f} in {account.steps} steps; teach it longer "
    )
    assert account.lines()[1].endswith(f"{said}(--update.optim.epochs)"), "a tiny model learns nothing in nine steps"
    assert account.lines()[1].startswith("knows now:   ")
    untold = replace(account, questions=0, arms={}, asked=()).lines()
    assert "not measured" in untold[0]
    assert "--update.optim.epochs" in untold[0]
    for losses in ((4.52, 0.19), ()):  # taught; or of an older version, which did not write it down
        assert not any("hardly" in line for line in replace(account, losses=losses).lines())


def test_every_question_is_checked_with_its_own_passage_in_sight(quiet: tuple[Path, Account]) -> None:
    rows = [row for row in Journal(Store(str(quiet[0]))).rows("planned") if row["stage"] == "questions, try 1"]
    assert len({row["task_id"] for row in rows}) == 3
    assert set(Counter((row["task_id"], row["index"]) for row in rows).values()) == {1}


def test_the_same_documents_again_do_nothing_and_load_no_model(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, account = quiet
    monkeypatch.setattr("seal_ray.loop.session.open_cluster", None)
    asked = len(server.seen)
    said: list[str] = []
    given = [directory.parent / "notes.md"]
    again = learnt(given, "", directory, Silent(), settings=settings(server.url), say=said.append)
    assert again == (str(directory), account)
    assert said == [f"{directory.absolute()}: these documents are known already; nothing is to be done"]
    assert continued(str(directory), Silent()) == account
    assert len(server.seen) == asked


def test_a_disk_that_fills_up_as_what_was_learnt_is_put_together_is_told_in_a_line(
    quiet: tuple[Path, Account], tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "4m") as disk:
        directory = disk.folder / "out"
        shutil.copytree(quiet[0], directory)
        shutil.rmtree(directory / "adapter")
        (directory / "learnt.json").unlink()
        said, account = list[str](), None
        while not account:  # whichever file is the first that there is no room for
            disk.remount(f"size={shutil.disk_usage(disk.folder).used // 1024 + 8 + 8 * len(said)}k")
            try:
                account = continued(str(directory), Silent())
            except UserError as error:
                said.append(str(error))
        assert account.adapter == known(directory) == quiet[1].adapter
    written_last = [line for line in said if line.startswith(f"{directory}/adapter: cannot be written: ")]
    assert len(written_last) > 3
    assert all("No space left on device" in line for line in said)


def test_what_a_kill_left_of_the_adapters_folder_is_removed_by_the_next_learning(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(quiet[0], tmp_path / "out"))
    (directory / "learnt.json").unlink()
    left = directory / "adapter.part-1", directory / "adapter/adapter.part-2"
    for part in left:
        part.mkdir()
        (part / "adapter_model.safetensors").touch()
    learnt([quiet[0].parent / "notes.md"], model, directory, Silent(), settings=settings(server.url))
    assert known(directory) == quiet[1].adapter
    assert not any(part.exists() for part in left)


@pytest.mark.slow
def test_a_learning_killed_at_ten_moments_ends_in_the_same_adapter(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, tmp_path: Path
) -> None:
    arguments = ([str(written(tmp_path))], model, str(tmp_path / "out"), settings(server.url))
    ended = []
    for moment in (*MOMENTS, 0):
        process = FORKING.Process(target=learns, args=(*arguments, moment))
        process.start()
        process.join()
        ended.append(process.exitcode)
    assert ended[-1] == 0
    assert ended[:-1].count(-signal.SIGKILL) >= 8, "most of them met their moment"
    assert known(tmp_path / "out") == quiet[1].adapter


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_workers_on_ray_learn_the_same(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, tmp_path: Path
) -> None:
    elsewhere = [*settings(server.url), "--workers.address", "", "--workers.trainers", "2"]
    _, account = learnt([written(tmp_path)], model, tmp_path / "out", Silent(), settings=elsewhere)
    assert (account.adapter, account.arms) == (quiet[1].adapter, quiet[1].arms)


@pytest.mark.slow
def test_a_changed_document_relearns_what_changed(
    model: str, server: ScriptedServer, tmp_path: Path, in_process: Counter[str]
) -> None:
    file, directory = written(tmp_path), tmp_path / "out"
    _, first = learnt([file], model, directory, Silent(), settings=settings(server.url))
    done, asked = Counter(in_process), len(server.seen)
    in_process.clear()
    written(tmp_path, NOTES.replace("Mondays", "Fridays"))
    said: list[str] = []
    _, second = learnt([file], model, directory, Silent(), settings=settings(server.url), say=said.append)
    assert "learning 3 passages of" in said[0]
    assert ", 1 of them new and 1 no longer there, with" in said[0]
    assert len(server.seen) - asked <= 3, "one passage of three is new: it alone is asked about"
    assert 0 < in_process["trial"] < done["trial"]
    assert (second.version, second.passages) == (2, 3)
    assert " minutes of work for all 2 versions, " in second.lines()[-1], "it is the directory's, not the last hour's"
    assert known(directory) == second.adapter != first.adapter
    written(tmp_path)
    in_process.clear()
    _, back = learnt([file], model, directory, Silent(), settings=settings(server.url))
    assert (back.version, back.adapter) == (1, first.adapter), "what was known before is on record"
    assert not in_process


def test_eval_shows_the_account_and_a_directory_can_be_moved(
    quiet: tuple[Path, Account], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(quiet[0], tmp_path / "moved")
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(moved)])
    assert capsys.readouterr().out.splitlines() == [*quiet[1].lines(), *quiet[1].answers()]
    (moved / "learnt.json").unlink()
    assert continued(str(moved), Silent()).adapter == quiet[1].adapter


def test_documents_are_learnt_where_a_loop_is_running_as_in_a_notebook(
    model: str, server: ScriptedServer, quiet: tuple[Path, Account], tmp_path: Path
) -> None:
    async def cell() -> str:
        learn(written(tmp_path), model, tmp_path / "out", Silent(), settings=settings(server.url))
        return known(tmp_path / "out")

    assert asyncio.run(cell()) == known(quiet[0])


def test_what_was_learnt_can_be_asked_with_it_and_without(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, _ = quiet
    answerer = learn([directory.parent / "notes.md"], model, directory, Silent(), settings=settings(server.url))
    question = "What does it bring on Mondays?"
    said = {who: answerer.ask(question, 24, learnt=who == "learnt") for who in ("learnt", "base")}
    assert said["learnt"] != said["base"]
    with pytest.raises(SystemExit, match="0"):
        main(["ask", str(directory), question, "--without", "--max-tokens", "24", "--json"])
    assert json.loads(capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.xyz", b"x", "a.xyz: unknown kind of document"),
        ("a.md", b"\n\n", "a.md: holds no text"),
        ("a.txt", b"a\0b", "a.txt: holds bytes that are no text"),
        ("a.txt", b"\xff\xfe", "a.txt: not UTF-8 text"),
        ("a.md", None, "a.md: no such file or folder"),
    ],
)
def test_a_document_that_cannot_be_learnt_is_named_before_anything_is_touched(
    tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=said) as error:
        learnt([tmp_path / name], "microworld", tmp_path / "out", Silent())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_setting_of_the_update_is_none_of_a_trials_nor_of_the_next_learning() -> None:
    changed = config_for("out", "microworld", ["--update.lora.rank", "2", "--update.optim.lr", "0.5"])
    usual = config_for("out", "microworld")
    assert (changed.update.lora.rank, changed.update.optim.lr) == (2, 0.5)
    assert changed.trial == usual.trial
    assert (usual.update.lora.rank, usual.update.optim.lr) != (2, 0.5)


@pytest.mark.parametrize(
    ("layers", "width", "rate"), [(2, 64, 2e-3), (30, 576, 2e-3), (24, 896, 5e-4), (28, 3584, 5e-4)]
)
def test_a_larger_model_is_taught_at_a_lower_rate_unless_one_is_said(
    tmp_path: Path, layers: int, width: int, rate: float
) -> None:
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width, "vocab_size": 49152}
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": width // 64, "tie_word_embeddings": True}
    usual = config_for("out", _said_to_be(tmp_path, {"model_type": "llama", **sizes, **heads}))
    assert at_its_rate(usual) == replace(
        usual, update=replace(usual.update, optim=replace(usual.update.optim, lr=rate))
    )
    said = ["--update.optim.lr", "0.001"]
    assert at_its_rate(config_for("out", str(tmp_path), said), said).update.optim.lr == 0.001


@pytest.mark.parametrize(
    "said", [{"model_type": "mixtral", "num_local_experts": 8}, {"model_type": "gpt2", "n_embd": 768}]
)
def test_a_model_whose_size_is_not_known_is_taught_at_the_lowest_rate(tmp_path: Path, said: dict[str, object]) -> None:
    assert at_its_rate(config_for("out", _said_to_be(tmp_path, said))).update.optim.lr == 5e-4


def _said_to_be(folder: Path, config: dict[str, object]) -> str:
    """A model by what its config says, whose weights nobody reads."""
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()
    return str(folder)


def test_an_adapter_on_modules_that_the_model_has_not_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    notes = written(tmp_path / "notes")
    with pytest.raises(UserError, match=r"update\.lora\.targets: no linear module of microworld is named 'q_prj'"):
        learnt(notes, "microworld", tmp_path / "learnt", settings=["--update.lora.targets", '["q_prj"]'])
    assert not (tmp_path / "learnt").exists()


def test_settings_that_the_command_has_options_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--run.dir: give --into, --model, --method, --texts and"):
        learnt([written(tmp_path)], "microworld", tmp_path / "out", Silent(), settings=["--run.dir", "x"])


def test_another_model_is_refused_by_name_and_not_file_by_file(
    quiet: tuple[Path, Account], server: ScriptedServer, model: str, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(quiet[0], tmp_path / "out"))
    with pytest.raises(UserError, match=f"another config .*model.path: another model than {model}") as refused:
        learnt([written(tmp_path)], "microworld", directory, Silent(), settings=settings(server.url))
    assert "safetensors" not in str(refused.value)


@pytest.mark.slow
def test_what_was_learnt_with_other_settings_is_moved_aside_when_one_says_so_and_never_unasked(
    quiet: tuple[Path, Account], model: str, server: ScriptedServer, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(quiet[0], tmp_path / "out"))
    other = ([written(tmp_path)], model, directory, Silent())
    changed = [*settings(server.url), "--update.lora.rank", "2"]
    with pytest.raises(UserError, match=r"another config \(update.lora.rank: 4 -> 2\).*--force"):
        learnt(*other, settings=changed)
    assert known(directory) == quiet[1].adapter
    _, anew = learnt(*other, settings=changed, force=True)
    assert known(directory) == anew.adapter != quiet[1].adapter
    assert known(tmp_path / "out.aside-1") == quiet[1].adapter
