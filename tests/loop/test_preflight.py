"""What can be found missing at once is found before Ray is started and before the directory is touched."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from seal_ray import config as configs
from seal_ray.cli.app import main
from seal_ray.config import Config
from seal_ray.domains.base import Split
from seal_ray.domains.knowledge.domain import Knowledge, KnowledgeTask
from seal_ray.domains.registry import load_domain
from seal_ray.loop import preflight
from seal_ray.loop.preflight import look, pinned, prepare
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import claimed, recorded, recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.selection.rules import Candidate, find_rule
from seal_ray.types import UserError

ASKED = [{"question": "Which?", "answer": "That one."}]
PASSAGES = [{"title": f"T{n}", "context": f"Fact {n}.", "questions": ASKED} for n in range(6)]
FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes as far as starting workers was told too late."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("seal_ray.loop.session.open_cluster", started)


def written(folder: Path, *more: str, options: str = 'train = "passages.jsonl"') -> Config:
    """A config in `folder`, whose paths start there; the run goes into `run` beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, PASSAGES)))
    (folder / "prompt.txt").write_text("What follows from {context}?\n")
    sizes = "train = 1\ntest = 1"
    model = '[model]\npath = "microworld"\ndtype = "float32"\n'
    (folder / "run.toml").write_text(f'{model}[domain]\nname = "knowledge"\n{sizes}\n[domain.options]\n{options}\n')
    return configs.load(folder / "run.toml", ["--run.dir", str(folder / "run"), *more])


def first_of_each(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return list(candidates[:1])


NOTHING = 3

SERVER = ["--sampling.engine", "endpoint", "--sampling.endpoint", "http://127.0.0.1:9"]

TROUBLES: dict[str, tuple[list[str], str]] = {
    "a source that is nowhere": (["--domain.options.train", "dcos"], "domain.options.train: .*dcos: no such file"),
    "a template that is nowhere": (["--domain.options.template", "p.txt"], "domain.options.template: .*p.txt: no such"),
    "more passages than there are": (["--domain.train", "99"], r"holds \d train passages; 99 were asked for"),
    "more held out than there are": (["--domain.test", "99"], r"holds \d test passages; 99 were asked for"),
    "an unknown rule": (["--selection.rule", "bset"], "did you mean 'best'"),
    "a rule that is none": (["--selection.rule", "tests.loop.test_preflight:NOTHING"], "neither a Rule nor a function"),
    "a domain that cannot be imported": (["--domain.name", "toy:Toy"], "cannot be imported: No module named 'toy'"),
    "a key that is not set": ([*SERVER, "--run.rounds", "0", "--sampling.key_env", "NO_KEY"], "NO_KEY is not set"),
    "rounds of a model that is a server's": (SERVER, r"a server's stays as it is; set run.rounds = 0"),
    "a way of learning in turn that is named twice": (
        ["--continual.sequences", "1", "--continual.passages", "1", "--continual.ways", '["none", "none"]'],
        "continual.ways names 'none' twice",
    ),
    "more orders of passages than there are": (
        ["--continual.sequences", "2", "--continual.passages", "1"],
        "continual.sequences is 2, and 1 of 1 held-out passages have 1 orders",
    ),
    "a way that there is not": (
        ["--continual.sequences", "1", "--continual.passages", "1", "--continual.ways", "merj"],
        "did you mean 'merge'",
    ),
    "a sequence longer than what is held out": (["--continual.sequences", "1"], "continual.passages is 8"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_is_missing_is_said_before_anything_is_started_or_written(tmp_path: Path, trouble: str) -> None:
    more, said = TROUBLES[trouble]
    with pytest.raises(UserError, match=said):
        run(written(tmp_path, *more), Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_dry_run_finds_it_too(tmp_path: Path, trouble: str) -> None:
    more, said = TROUBLES[trouble]
    with pytest.raises(UserError, match=said):
        look(written(tmp_path, *more))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_checks_a_config_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    seen, checks = list[Config](), preflight.check

    def counted(config: Config) -> object:
        seen.append(config)
        return checks(config)

    monkeypatch.setattr(preflight, "check", counted)
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(tmp_path / "run.toml"), "--dry-run"])
    assert len(seen) == 1


def test_a_dry_run_finds_a_directory_that_is_another_runs(tmp_path: Path) -> None:
    assert "a run would begin in" in look(written(tmp_path))
    begin(written(tmp_path))
    assert "a run would go on in" in look(written(tmp_path))
    with pytest.raises(UserError, match=r"holds a run with another config \(trial.seeds: 3 -> 2\)"):
        look(written(tmp_path, "--trial.seeds", "2"))


def test_a_dry_run_draws_no_later_rounds_tasks_where_no_stream_may_go_on_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    tasks = Knowledge.tasks

    def counted(self: Knowledge, split: Split, count: int | None, seed: int) -> Sequence[KnowledgeTask]:
        drawn.append(split)
        return tasks(self, split, count, seed)

    monkeypatch.setattr(Knowledge, "tasks", counted)
    look(written(tmp_path, "--domain.fresh", "true", "--run.rounds", "50"))
    assert drawn == ["test", "train"]


def test_passages_without_questions_need_the_key_of_whoever_is_to_write_them(tmp_path: Path) -> None:
    asked = ("--questions.endpoint", "http://127.0.0.1:9/v1", "--questions.key_env", "NO_KEY")
    prepare(written(tmp_path, *asked))
    (tmp_path / "notes.md").write_text("# One\n\nA note.\n\n# Two\n\nAnother.\n\n# Three\n\nA third.")
    sources = ("--domain.options.train", str(tmp_path / "notes.md"), "--domain.options.test_fraction", "0.5")
    with pytest.raises(UserError, match=r"questions.key_env: NO_KEY is not set"):
        prepare(written(tmp_path, *asked, *sources))


def test_a_plain_function_is_a_rule(tmp_path: Path) -> None:
    rule = find_rule(written(tmp_path, "--selection.rule", "tests.loop.test_preflight:first_of_each").selection.rule)
    assert rule.choose is first_of_each
    assert rule.needs_rewards


def test_paths_of_a_config_start_at_its_folder_and_those_of_a_command_where_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/own.txt").write_text("{context}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = written(tmp_path / "config", "--domain.options.template", "own.txt")
    assert config.domain.options["train"] == str(tmp_path / "config/passages.jsonl")
    assert config.domain.options["template"] == str(tmp_path / "elsewhere/own.txt")
    assert config.model.path == "microworld"


def test_a_source_beside_the_reader_and_not_beside_the_config_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("A note.")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a path in a config starts at the config's folder"):
        prepare(written(tmp_path / "config", options='train = "notes.txt"'))


def test_a_run_is_continued_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("config"), options='train = "passages.jsonl"\ntemplate = "prompt.txt"')
    config = configs.load("config/run.toml", ["--run.dir", "run"])
    begin(config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert begin(recorded_config("../run")) == begin(configs.load("../config/run.toml", ["--run.dir", "../run"]))


def begin(config: Config) -> str:
    """What a run does first: look at everything, claim the directory, write a row. Returns the run's name."""
    store, ready = Store(config.dir), prepare(config)
    with claimed(store, ready.config, ready.identity) as claim:
        journal = Journal(store, claim.run)
        journal.append("spans", {"key": "first"})
        journal.flush()
    return claim.run


class Hub:
    """A hub with one model, whose branch can move on, and its small files; what it was asked is counted."""

    def __init__(self) -> None:
        self.commit, self.asked, self.files = FIRST, Counter[str](), dict[str, str]()
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked[self.path] += 1
                if "/resolve/" in self.path:
                    return self.give(self.path.rpartition("/")[2])
                known = "org/model" in self.path
                body = json.dumps({"id": "org/model", "sha": hub.commit} if known else {"error": "no such"}).encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if not known:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.give(self.path.rpartition("/")[2])

            def give(self, name: str) -> None:
                body = hub.files.get(name, "").encode()
                self.send_response(200 if body else 404)
                headers = {"ETag": f'"{hash(body)}"', "X-Repo-Commit": hub.commit} if body else {}
                for header, value in (headers or {"X-Error-Code": "EntryNotFound"}).items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def a_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    hub = Hub()
    threading.Thread(target=hub.server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    files = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def test_a_run_keeps_to_the_commit_it_was_begun_with_when_the_branch_moves_on(tmp_path: Path, a_hub: Hub) -> None:
    config = written(tmp_path, "--model.path", "org/model")
    assert pinned(config).model.revision == FIRST
    begin(config)
    a_hub.commit = SECOND
    assert recorded_config(config.dir).model.revision == FIRST
    assert begin(config) == begin(recorded_config(config.dir))
    with pytest.raises(UserError, match=f"model.path: the content has changed .*{FIRST} -> org/model@{SECOND}"):
        begin(written(tmp_path, "--model.path", "org/model", "--model.revision", "main"))


def test_a_name_that_the_hub_does_not_know_is_refused_at_once(tmp_path: Path, a_hub: Hub) -> None:
    with pytest.raises(UserError, match=r"model.path 'org/none': neither here nor on the hub"):
        run(written(tmp_path, "--model.path", "org/none"), Silent())
    assert not (tmp_path / "run").exists()


def test_a_hub_that_does_not_answer_is_done_without_where_this_machine_has_the_model(
    tmp_path: Path, a_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    config = written(tmp_path, "--model.path", "org/model")
    with pytest.raises(UserError, match="the hub does not answer, and it is not on this machine"):
        run(config, Silent())
    held = tmp_path / "cache/models--org--model"
    (held / "refs").mkdir(parents=True)
    (held / "refs/main").write_text(FIRST)
    (held / "snapshots" / FIRST).mkdir(parents=True)
    (held / "snapshots" / FIRST / "config.json").write_text("{}")
    assert pinned(config).model.revision == FIRST
    assert not a_hub.asked


def test_a_dataset_of_the_hub_keeps_to_its_commit(tmp_path: Path, a_hub: Hub) -> None:
    config = written(tmp_path, options='train = "hf:org/model#validation"')
    taken = pinned(config)
    assert taken.domain.options["train"] == f"hf:org/model@{FIRST}#validation"
    store = Store(config.dir)
    with claimed(store, config, identify(taken, load_domain(taken))) as claim:
        journal = Journal(store, claim.run)
        journal.append("spans", {"key": "first"})
        journal.flush()
    a_hub.commit = SECOND
    assert pinned(config, recorded(store)).domain.options == taken.domain.options
    another = written(tmp_path, options='train = "hf:org/model#train"')
    assert pinned(another, recorded(store)).domain.options["train"] == f"hf:org/model@{SECOND}#train"
