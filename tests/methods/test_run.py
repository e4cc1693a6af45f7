"""Methods on real passages of the micro-world, beside one another and again."""

import json
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.cli.app import main
from seal_ray.config import load
from seal_ray.domains.microworld.domain import describe
from seal_ray.domains.registry import load_domain
from seal_ray.looking.seen import look
from seal_ray.looking.stages import is_whole
from seal_ray.loop.run import run
from seal_ray.model.architecture import model_shape
from seal_ray.model.flops import of_trained_token
from seal_ray.policy.foreign import named_base
from seal_ray.record.journal import Journal
from seal_ray.record.methods import by_method
from seal_ray.record.methods_table import is_held
from seal_ray.record.rows import OutcomeRow, PlannedRow, SelfEditRow, StudyRow
from seal_ray.record.storage import Store
from seal_ray.record.variety import variety
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.types import UserError
from tests.methods.victim import measured
from tests.runs import results

JOB = Path(__file__).parents[2] / "jobs/methods.toml"
TRAINED = 3000
NAMES = ["in-context", "passage", "untrained", "qa", "context-distillation", "context-distillation-qa"]
SMALL = [
    *("--run.rounds", "0", "--domain.test", "2", "--evaluation.samples", "0", "--evaluation.baselines", "[]"),
    *("--evaluation.methods", json.dumps(NAMES), "--evaluation.texts", "[1, 2]", "--trial.optim.epochs", "12"),
]


def config_in(folder: Path, *more: str):
    return load(JOB, [*SMALL, "--run.dir", str(folder), *more])


def journal_of(folder: Path) -> Journal:
    return Journal(Store(str(folder)))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods") / "run"
    run(config_in(folder))
    return folder


def test_each_method_is_measured_on_each_task_with_each_number_of_texts(done: Path) -> None:
    rows = by_method([journal_of(done)])
    assert {(row["method"], row["texts"]) for row in rows} == {
        *((name, 0) for name in NAMES[:2]),
        *((name, texts) for name in NAMES[2:] for texts in (1, 2)),
    }
    assert {(row["tasks"], row["failed"]) for row in rows} == {(2, 0.0)}
    cost = {(row["method"], row["texts"]): (row["written"], row["trained"]) for row in rows}
    assert cost["in-context", 0] == (0, 0)
    assert 0 < cost["passage", 0][1] < cost["qa", 1][1] < cost["qa", 2][1]
    assert 0 < cost["qa", 1][0] < cost["qa", 2][0]
    assert cost["qa", 2] == cost["context-distillation-qa", 2]


def test_questions_teach_what_is_asked_by_their_words_and_by_what_is_predicted_of_them(done: Path) -> None:
    accuracy = {(row["method"], row["texts"]): row["accuracy"] for row in by_method([journal_of(done)])}
    for name in ("qa", "context-distillation-qa"):
        assert accuracy[name, 2] > accuracy["passage", 0] + 0.2


def test_more_texts_begin_with_the_fewer_and_are_shared_by_methods_that_ask_alike(done: Path) -> None:
    edits = defaultdict(dict)
    for row in journal_of(done).read(StudyRow):
        edits[row.method, row.texts][row.task_id] = row.edits
    for name in NAMES[2:]:
        for task, few in edits[name, 1].items():
            assert edits[name, 2][task][:1] == few
    assert edits["context-distillation", 2] == edits["untrained", 2]
    assert edits["context-distillation-qa", 2] == edits["qa", 2]


def test_what_is_asked_for_in_a_style_is_written_in_it(done: Path) -> None:
    tasks = {task.id: task for task in load_domain(config_in(done)).tasks("test", 2, 1)}
    journal = journal_of(done)
    written = {row.key: row for row in journal.read(SelfEditRow)}
    asked = [key for row in journal.read(StudyRow) if row.method == "qa" for key in row.edits]
    assert asked
    for row in (written[key] for key in asked):
        opening = row.prompt.rpartition("\n")[2]
        style = describe(tasks[row.task_id], f"{opening} {row.completion}")["style"]
        assert style in ("questions", "reversed questions", "questions both ways")


def test_the_same_command_does_nothing_anew_and_one_at_a_time_gives_the_same(done: Path, tmp_path: Path) -> None:
    before = results(done)
    run(config_in(done))
    assert results(done) == before
    few = json.dumps(["passage", "context-distillation-qa"])
    run(config_in(tmp_path / "alone", "--workers.slots", "1", "--evaluation.methods", few))
    alone = results(tmp_path / "alone")
    assert alone["rewards"]
    assert alone["rewards"].items() <= before["rewards"].items()


def test_a_table_is_the_same_however_often_its_command_is_killed(done: Path, tmp_path: Path) -> None:
    few = ["passage", "qa", "context-distillation-qa"]
    said, folder = tmp_path / "said", tmp_path / "killed"
    arguments = [str(JOB), *SMALL, "--run.dir", str(folder), "--only", ",".join(few)]
    while_writing, between, in_trials = ("self_edits", 2, False), ("studies", 3, True), ("outcomes", 2, True)
    for moment in (while_writing, between, in_trials, ("outcomes", 3, False)):
        assert measured(arguments, said, *moment) == -signal.SIGKILL
        assert not said.read_text()
    assert measured(arguments, said) == 0
    table = json.loads(said.read_text())["methods"]
    assert [without_time(row) for row in table] == [
        without_time(row) for row in json.loads(json.dumps(by_method([journal_of(done)]))) if row["method"] in few
    ]


def without_time(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("seconds", "flops")}


@pytest.fixture(scope="module")
def more(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with budgets, with retrieval, and with all tasks together."""
    folder = tmp_path_factory.mktemp("more") / "run"
    shutil.copytree(done, folder)
    few = ("--evaluation.methods", '["retrieval", "passage", "qa"]', "--evaluation.texts", "[2]")
    held = ("--evaluation.budgets", str([budget(done)]), "--evaluation.trained_budgets", str([TRAINED]))
    run(config_in(folder, *few, *held, "--evaluation.joint_methods", "true"))
    return folder


def budget(done: Path) -> int:
    """What the shortest two texts of `qa` have between them."""
    written = {row.key: row.tokens for row in journal_of(done).read(SelfEditRow)}
    studies = [row for row in journal_of(done).read(StudyRow) if (row.method, row.texts) == ("qa", 2)]
    return min(sum(written[key] for key in row.edits) for row in studies)


def test_a_budget_has_as_many_of_the_same_texts_as_stay_within_it(done: Path, more: Path) -> None:
    written = {row.key: row.tokens for row in journal_of(more).read(SelfEditRow)}
    studies = [row for row in journal_of(more).read(StudyRow) if row.method == "qa" and not row.together]
    two = {row.task_id: row for row in studies if row.texts == 2 and not row.budget}
    held = [row for row in studies if row.budget]
    assert len(held) == 2
    for row in held:
        assert sum(written[key] for key in row.edits) <= row.budget == budget(done)
        assert row.edits[:2] == two[row.task_id].edits[: row.texts]
        assert len(row.edits) == row.texts
    assert any(row.edits == two[row.task_id].edits for row in held)
    (row,) = (row for row in by_method([journal_of(more)]) if "budget" in row and "together" not in row)
    assert row["texts"] == sum(each.texts for each in held) / 2


def test_a_budget_of_trained_tokens_has_as_many_texts_as_their_trainers_count(more: Path) -> None:
    outcomes = {row.key: row for row in journal_of(more).read(OutcomeRow)}
    studies = {row.task_id: row for row in journal_of(more).read(StudyRow) if row.trained and not row.together}
    arm = f"qa, {TRAINED} tokens trained on"
    asked = {row.task_id: outcomes[row.trial] for row in journal_of(more).read(PlannedRow) if row.arm == arm}
    assert len(asked) == len(studies) == 2
    assert all(TRAINED / 2 < row.tokens <= TRAINED for row in asked.values())
    (row,) = (row for row in by_method([journal_of(more)]) if "trained budget" in row and "together" not in row)
    assert row["trained"] == sum(row.tokens for row in asked.values()) / 2
    assert 0 < row["texts"] == sum(row.texts for row in studies.values()) / 2


def test_a_row_of_retrieval_says_how_many_questions_found_their_own_passage(
    more: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = (row for row in by_method([journal_of(more)]) if row["method"] == "retrieval")
    assert 0.5 < row["own passage found"] <= 1
    said = f"{row['own passage found']:.1%}"
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(more)])
    assert f"retrieval: {said} of the questions found their own passage" in capsys.readouterr().out
    assert f"retrieval: {said} of the questions found their own passage" in render(read_run(str(more)))


def test_all_tasks_together_are_one_adapter_with_the_texts_of_each(more: Path) -> None:
    rows = {(row["method"], row["texts"]): row for row in by_method([journal_of(more)]) if not is_held(row)}
    together = [row for row in by_method([journal_of(more)]) if row.get("together")]
    assert [(row["method"], row["texts"]) for row in together if not is_held(row)] == [("passage", 0), ("qa", 2)]
    for row in (row for row in together if not is_held(row)):
        alone = rows[row["method"], row["texts"]]
        assert row["trained"] == pytest.approx(alone["trained"]), "what it took is shared out among the tasks"
        assert row["written"] == alone["written"]
    asked = [row for row in journal_of(more).read(PlannedRow) if row.arm == "qa, 2 texts, all together"]
    outcomes = {row.key: row for row in journal_of(more).read(OutcomeRow)}
    assert len({(outcomes[row.trial].steps, outcomes[row.trial].last_loss) for row in asked}) == 1 < len(asked)
    assert is_whole(look(Store(str(more)))) is not False


def test_an_adapter_from_elsewhere_is_asked_every_task_and_is_called_by_its_content(done: Path, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "theirs"
    shutil.copytree(done, folder)
    for scale in (0.0, 1.0):
        random_adapter(scale).save(elsewhere, named_base(config_in(done)))
        few = json.dumps([f"external:{elsewhere}"])
        run(config_in(folder, "--evaluation.methods", few))
    answers = {row.key: row.answers for row in journal_of(folder).read(OutcomeRow)}
    arms = defaultdict(list)
    for row in journal_of(folder).read(PlannedRow):
        if row.arm.startswith("external:"):
            arms[row.arm].append(answers[row.trial])
    assert all(arm.startswith("external:theirs@") for arm in arms)
    nothing, something = arms.values()
    assert len(nothing) == len(something) == 2, "one for each task"
    assert nothing != something
    rows = [row for row in by_method([journal_of(folder)]) if row["method"] in arms]
    assert [(row["trained"], row["tasks"]) for row in rows] == [(0, 2)] * 2


def random_adapter(scale: float, wider: int = 0) -> Adapter:
    (inner, outer), draw = model_shape("microworld").linears["q_proj"], np.random.default_rng(1)
    down, up = tensor_names("model.layers.0.self_attn.q_proj")
    tensors = {down: draw.normal(size=(4, inner + wider)), up: scale * draw.normal(size=(outer, 4))}
    return Adapter(4, 64.0, ("q_proj",), {name: each.astype(np.float32) for name, each in tensors.items()})


def test_an_adapter_of_another_base_or_shape_is_refused_with_both(tmp_path: Path) -> None:
    random_adapter(1.0).save(tmp_path / "theirs", "Qwen/Qwen3-0.6B")
    with pytest.raises(UserError, match=r"is an adapter of Qwen/Qwen3-0\.6B, and not of microworld"):
        run(config_in(tmp_path / "none", "--evaluation.methods", json.dumps([f"external:{tmp_path / 'theirs'}"])))
    random_adapter(1.0, wider=1).save(tmp_path / "theirs", "microworld")
    with pytest.raises(UserError, match=r"q_proj is \(\d+, \d+\) there and \(\d+, \d+\) in microworld"):
        run(config_in(tmp_path / "none", "--evaluation.methods", json.dumps([f"external:{tmp_path / 'theirs'}"])))
    assert not (tmp_path / "none").exists()


def test_operations_follow_from_the_tokens_and_the_models_shape(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done), "--json"])
    rows = json.loads(capsys.readouterr().out)["methods"]
    shape, lora = model_shape("microworld"), config_in(done).trial.lora
    adapter = sum(lora.rank * (inner + outer) for inner, outer in shape.sites(lora))
    for row in rows:
        assert row["flops"] == pytest.approx(row["trained"] * (4 * shape.multiplied + 6 * adapter))
    assert "flops" not in by_method([journal_of(done)])[0], "a run may lie where its model is not"


def test_a_run_is_whole_when_every_method_was_measured(done: Path) -> None:
    seen = look(Store(str(done)))
    assert is_whole(seen) is not False
    fewer = [row for row in seen.planned if row.arm != "qa, 2 texts"]
    assert is_whole(replace(seen, planned=fewer)) is False


def test_two_runs_are_taken_together_and_differences_are_between_the_same_tasks(done: Path, tmp_path: Path) -> None:
    other = tmp_path / "seed-2"
    few = json.dumps(["passage", "qa"])
    run(config_in(other, "--run.seed", "2", "--domain.test", "4", "--evaluation.methods", few))
    rows = by_method([journal_of(done), journal_of(other)])
    by_name = {(row["method"], row["texts"]): row for row in rows}
    assert {row["tasks"] for row in rows if row["method"] in few} == {6}
    assert "interval" not in by_name["untrained", 2]
    plain, asked = by_name["passage", 0], by_name["qa", 2]
    assert asked["over passage"][0] == pytest.approx(asked["accuracy"] - plain["accuracy"])
    assert asked["over passage"][1] <= asked["over passage"][0] <= asked["over passage"][2]
    assert "over passage" not in plain


def test_the_table_is_printed_and_given_as_numbers(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done)])
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(done), "--json"])
    rows = json.loads(capsys.readouterr().out)["methods"]
    assert rows == json.loads(json.dumps(by_method([journal_of(done)], [of_trained_token(config_in(done))])))


def test_below_the_table_stands_what_its_figures_and_gaps_mean(
    done: Path, more: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, with_budget in ((done, False), (more, True)):
        with pytest.raises(SystemExit, match="0"):
            main(["eval", str(folder)])
        said = capsys.readouterr().out
        assert "over passage in points, task by task" in said
        assert "fewer than 6 tasks: too few for intervals" in said
        assert ("≤: as many texts as" in said) is with_budget
        assert ("≤ … trained: the same of tokens" in said) is with_budget
        assert max(map(len, said.splitlines())) <= 80


def test_a_setting_without_a_value_is_named_whatever_options_come_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["methods", str(JOB), "--budgets", "5", "--domain.test"])
    assert "--domain.test needs a value" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--texts", "--budgets", "--trained-budgets"])
def test_what_is_no_number_is_refused_by_the_option_it_was_given_with(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["methods", str(JOB), option, "5,many"])
    assert f"{option} 5,many: give whole numbers with commas between" in capsys.readouterr().err


def test_methods_that_there_are_not_are_refused_before_anything_begins(tmp_path: Path) -> None:
    for methods, said in (('["pasage"]', "pasage"), ('["qa", "qa"]', "twice"), ('["entigraph"]', "leave it out")):
        with pytest.raises(UserError, match=said):
            run(config_in(tmp_path / "none", "--evaluation.methods", methods))
    assert not (tmp_path / "none").exists()


def test_texts_that_repeat_themselves_are_less_varied() -> None:
    fresh = variety([["the bridge was built", "a mason built it\nin the year 1907"]])
    stale = variety([["the bridge was built", "The bridge was built.\nthe bridge was built"]])
    assert (fresh["distinct pairs"], fresh["said again"]) == (1.0, 0.0)
    assert (stale["distinct pairs"], stale["said again"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert variety([[""], []]) == {}


def test_a_trial_of_a_method_is_explained_as_one_and_not_as_a_self_edit(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = next(row for row in journal_of(done).read(PlannedRow) if row.arm == "qa, 2 texts")
    with pytest.raises(SystemExit, match="0"):
        main(["explain", str(done), place.trial])
    said = " ".join(capsys.readouterr().out.split())
    assert "qa, 2 texts" in said
    assert "again: not here: it is of a method" in said
    assert "self-edit:" not in said


def test_the_page_shows_methods_as_a_picture_and_as_numbers(done: Path, more: Path) -> None:
    assert all(f'<th scope="row">qa{how}</th>' in render(read_run(str(more))) for how in ("", ", all together"))
    page = render(read_run(str(done)))
    section = page.partition('id="s-methods"')[2].partition("</section>")[0]
    assert "<svg" in section
    assert all(f'<th scope="row">{name}</th>' in section for name in NAMES)
    assert "The same 2 held-out tasks" in section
    assert read_run(str(done)).headline.text.startswith("Of 6 methods, ")


def test_whoever_reads_the_table_may_have_enough_of_it(done: Path) -> None:
    script = "import sys; from seal_ray.cli.app import main; main(sys.argv[1:])"
    eval_ = subprocess.Popen([sys.executable, "-c", script, "eval", str(done)], stdout=PIPE, stderr=PIPE, text=True)
    assert eval_.stdout
    assert eval_.stderr
    eval_.stdout.close()
    assert "Traceback" not in eval_.stderr.read()
    assert eval_.wait() in (0, 1)  # rich ends with 1 where nobody reads on
