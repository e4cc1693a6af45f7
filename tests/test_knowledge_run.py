"""The small knowledge job as it ships, end to end: real workers, a tiny model of random weights, and who judges it."""

from __future__ import annotations

import asyncio
import json
import runpy
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seal_ray.config import Config, load
from seal_ray.domains.knowledge.domain import SYNTHETIC, Knowledge
from seal_ray.domains.knowledge.reading import passages
from seal_ray.domains.registry import load_domain
from seal_ray.events import Events
from seal_ray.loop.run import run
from seal_ray.loop.session import Session
from seal_ray.loop.synthetic_questions import with_questions
from seal_ray.observe.progress import Silent
from seal_ray.record.continual import CONTINUAL, by_way, orders, print_continual
from seal_ray.record.journal import Journal
from seal_ray.record.rows import TABLES
from seal_ray.record.storage import Store
from seal_ray.record.summary import as_json, print_table
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.rundir.keys import Names
from seal_ray.types import Prompt, Task, Trial, UserError
from seal_ray.workers.cluster import RayCluster
from tests.grading.judge_server import judge_server
from tests.servers import ok, serving

JOBS = Path(__file__).parents[1] / "jobs"
TROUBLES = ("slow", "429 500", "garbage 503", "late 429 hollow")
VERDICTS = ("right", "wrong", "unsure")
SECRET = "sk-used-and-never-kept"

pytestmark = pytest.mark.usefixtures("local_ray", "forked_workers")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    runpy.run_path(str(JOBS / "tiny_model.py"))["make"](str(folder), hidden=64, layers=2)
    return folder


def job(folder: Path, model: Path, *more: str) -> Config:
    passages = ["--domain.options.train", str(JOBS / "passages.jsonl")]
    return load(JOBS / "knowledge_small.toml", ["--run.dir", str(folder), "--model.path", str(model), *passages, *more])


def trouble(answer: str) -> str:
    """Every kind of trouble, and either verdict, by the answer's content alone."""
    lot = zlib.crc32(answer.encode())
    return f"{TROUBLES[lot % len(TROUBLES)]}: {VERDICTS[lot // 8 % 3]}"


def judged(answer: str) -> float:
    return float(bool(answer.strip()) and trouble(answer).endswith("right"))


def outcomes(folder: Path) -> list[dict[str, Any]]:
    return list(Journal(Store(str(folder))).rows("outcomes"))


def test_the_small_job_is_judged_rightly_over_an_endpoint_that_is_late_refusing_and_talks_nonsense(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    with judge_server(trouble) as server:
        options = {"base_url": server.url, "model": "judge", "timeout": 1.0, "retries": 9, "backoff": 0.001}
        options |= {"key_env": "JUDGE_KEY", "cache": str(tmp_path / "cache.jsonl")}
        more = ["--grading.name", "judge", "--grading.options", json.dumps(options), "--trial.optim.lr", "0.05"]
        summary = run(job(tmp_path / "run", model, *more, "--evaluation.samples", "3"), Silent())
    assert {"base", "passage only", "in-context", "untrained self-edits", "after round 1"} == summary.keys()
    rows = outcomes(tmp_path / "run")
    assert not any(row["failure"] for row in rows)
    for row in rows:
        expected = [judged(answer) for answer in row["answers"]]
        assert row["verdicts"] == expected
        assert row["reward"] == pytest.approx(sum(expected) / len(expected))
    answers = {answer for row in rows for answer in row["answers"] if answer.strip()}
    met = {trouble(answer).partition(":")[0] for answer in answers}
    assert met == set(TROUBLES), "the answers met every kind of trouble"
    assert 0 < sum(map(judged, answers)) < len(answers)
    lost = sum(what != "slow" for answer in answers for what in trouble(answer).partition(":")[0].split())
    assert server.tries.total() >= len(answers) + lost
    assert server.tries.keys() == answers, "an empty answer is a no without asking"
    assert server.keys == {f"Bearer {SECRET}"}
    assert "JUDGE_KEY" in (tmp_path / "run/config.json").read_text()
    kept = [repr(list(Journal(Store(str(tmp_path / "run"))).rows(table))) for table in TABLES]
    kept += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET in text for text in kept), "a key is used and never kept"


QUESTIONS = ok({"choices": [{"text": " When was it built?\nAnswer: 1907\n\nQuestion 2: Of what is it?\nAnswer: oak"}]})


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of plain texts, two in a file, without a question."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "harbour.md").write_text("# The harbour\nOak piers, of 1907.\n\n# The mill\nOf 1907, all of oak.\n")
    (folder / "inn.txt").write_text("The inn, of oak too and of 1907, has nine beds.")
    return folder


def test_a_folder_of_plain_texts_is_asked_questions_that_a_model_wrote_and_every_table_says_so(
    model: Path, tmp_path: Path, notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    alone = ["--run.rounds", "0", "--domain.options.train", str(notes), "--domain.options.test_fraction", "1"]
    with serving(QUESTIONS) as server:
        asked = ["--questions.endpoint", server.url, "--questions.endpoint_model", "writer", "--domain.test", "3"]
        config = job(folder, model, *alone, *asked)
        summary = run(config, Silent())
        run(config, Silent())
        assert len(server.seen) == 3, "what was written is on record and not asked for again"
    assert all(measured.n == measured.synthetic == 3 for measured in summary.values())
    assert all(arm["synthetic"] == 3 for arm in as_json(summary).values())
    monkeypatch.setenv("COLUMNS", "120")
    print_table(summary)
    assert capsys.readouterr().out.count("3, 3 with synthetic questions") == len(summary)
    assert render(read_run(str(folder))).count("3 with synthetic questions") == len(summary)
    assert {len(row["answers"]) for row in outcomes(folder)} == {2}


def test_passages_on_which_the_model_wrote_no_usable_question_are_left_out(tmp_path: Path, notes: Path) -> None:
    asked: list[Prompt] = []

    async def weak(prompts: Sequence[Prompt], max_tokens: int) -> Sequence[str]:
        asked.extend(prompts)
        return [
            " How many beds are there?\nAnswer: nine" if "inn" in str(prompt) else "I would rather not."
            for prompt in prompts
        ]

    config = load(JOBS / "knowledge_small.toml", ["--domain.options.train", str(notes)])
    domain, journal = load_domain(config), Journal(Store(str(tmp_path / "run")))
    tasks = [Knowledge.task(domain, passage) for passage in passages(str(notes))]  # type: ignore[arg-type]
    parts = {"domain": domain, "config": config, "journal": journal, "events": Events(journal)}

    session = cast(Session, SimpleNamespace(**parts, cluster=SimpleNamespace(ask=weak), names=Names()))

    def questioned(some: Sequence[Task]) -> Sequence[Task]:
        return asyncio.run(with_questions(session, some))

    (kept,) = questioned(tasks)
    assert (kept.title, kept.family) == ("inn", SYNTHETIC)
    assert questioned([kept]) == [kept]
    with pytest.raises(UserError, match="no passage got a usable question; let a stronger model write them"):
        questioned(tasks[:2])
    assert len(asked) == 3, "what was written is on record and not asked for again"


def test_the_runs_own_base_judges_and_says_the_same_whatever_policy_is_served(model: Path, tmp_path: Path) -> None:
    options = ["--grading.name", "local judge", "--grading.options.chat", "false"]
    summary = run(job(tmp_path / "run", model, *options, "--evaluation.baselines", "[]"), Silent())
    assert all(m.accuracy == 0 for m in summary.values()), "random weights say neither yes nor no"
    assert "after round 1" in summary
    assert {verdict for row in outcomes(tmp_path / "run") for verdict in row["verdicts"]} == {0.0}


def test_all_weights_are_trained_on_all_passages_together(model: Path, tmp_path: Path) -> None:
    more = ["--run.rounds", "0", "--evaluation.joint", "true", "--evaluation.full_finetune", "true"]
    harder = ["--trial.optim.lr", "0.01", "--trial.optim.epochs", "6"]
    summary = run(job(tmp_path / "run", model, *more, *harder), Silent())
    assert [measured.n for measured in summary.values()] == [2, 2, 2, 2]
    edits = Counter(row["task_id"] for row in Journal(Store(str(tmp_path / "run"))).rows("self_edits"))
    assert len(edits) == 2, "each passage is trained on with self-edits of its own"
    rows = [row for row in outcomes(tmp_path / "run") if row["steps"]]
    # One training for the bare passages and one with the self-edits, each shared by the two passages that ask.
    assert len(rows) == 4
    assert len({(row["first_loss"], row["last_loss"]) for row in rows}) == 2
    assert all(row["last_loss"] < row["first_loss"] for row in rows)


def test_passages_learnt_one_after_another_are_all_asked_after_each_and_a_kill_costs_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of this seed the sequences begin with different passages.
    alone = ["--run.seed", "2", "--run.rounds", "0", "--evaluation.samples", "0", "--evaluation.baselines", "[]"]
    more = ["--continual.sequences", "2", "--continual.passages", "2", "--trial.optim.lr", "0.05"]
    config = job(tmp_path / "run", model, *alone, *more)
    learn, calls = RayCluster.train_adapter, list[Trial]()

    async def once_only(self: RayCluster, trial: Trial) -> Any:
        calls.append(trial)
        if len(calls) == 3:  # some sequence is at its second passage: the first is on record
            raise UserError("stopped here")
        return await learn(self, trial)

    monkeypatch.setattr(RayCluster, "train_adapter", once_only)
    with pytest.raises(UserError, match="stopped here"):
        run(config, Silent())
    learnt = sum(1 for _ in Journal(Store(config.dir)).rows("continual"))
    assert learnt
    begun = len(calls)  # 3, or 4: the other sequence may ask between the error and its own end
    run(config, Silent())
    assert len(calls) == begun + 4 - learnt, "what was learnt was not learnt again, what was under way was"
    journal = Journal(Store(config.dir))
    steps = {row["version"]: (row["sequence"], row["step"], row["rank"]) for row in journal.rows("continual")}
    assert steps == {1: (0, 1, 8), 2: (1, 1, 8), 3: (0, 2, 16), 4: (1, 2, 16)}
    assert len({trial.base for trial in calls}) == 3, "the base, and what each sequence had learnt"
    asked = Counter(row["arm"] for row in journal.rows("planned") if row["stage"] == CONTINUAL)
    assert asked == {f"sequence {n}, after {step}": 2 for n in (0, 1) for step in (0, 1, 2)}
    answers = {row["key"]: row["answers"] for row in journal.rows("outcomes")}
    assert len({tuple(answer) for answer in answers.values()}) > 1, "learning changes the answers"
    table = by_way(orders(journal))
    assert (table["merge"]["orders"], table["merge"]["failed"]) == (2, 0.0)
    assert {step: len(row) for step, row in table["merge"]["matrix"].items()} == {0: 2, 1: 2, 2: 2}
    assert 0 <= table["merge"]["known before, at the end"] <= 1
    print_continual({"merge": {**table["merge"], "matrix": {0: [0.25, 0.5], 1: [0.75, 0.5]}, "failed": 0.25}})
    said = capsys.readouterr().out
    assert " 75.0% |  50.0%\n" in said
    assert "merge: 25.0% of its trials failed and count as 0\n" in said


def test_a_sequence_longer_than_what_is_held_out_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"continual.passages is 8, and 2 are held out"):
        run(job(tmp_path / "run", model, "--continual.sequences", "1"), Silent())
