"""Whether prompts are chats follows from the model's own files, is settled once, and is part of what a run is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.config import Config, load
from seal_ray.domains.knowledge.domain import CUED, PLAIN, Knowledge
from seal_ray.domains.registry import load_domain
from seal_ray.loop.preflight import look, prepare
from seal_ray.model.template import chat_template, is_instruct
from seal_ray.record.schema import brought_up
from seal_ray.settling import settle
from seal_ray.types import UserError
from tests.settling.models import CHATML, model

PASSAGES = [
    {"title": f"T{n}", "context": f"Fact {n}.", "questions": [{"question": "Which?", "answer": str(n)}]}
    for n in range(6)
]


def config(folder: Path, base: Path | str, *more: str, options: str = "") -> Config:
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, PASSAGES)))
    tree = f'[model]\npath = "{base}"\ndtype = "float32"\n[domain]\nname = "knowledge"\ntrain = 1\ntest = 1\n'
    (folder / "run.toml").write_text(f'{tree}[domain.options]\ntrain = "passages.jsonl"\n{options}\n')
    return load(folder / "run.toml", ["--run.dir", str(folder / "run"), *more])


def asked(config: Config) -> Knowledge:
    domain = load_domain(config)
    assert isinstance(domain, Knowledge)
    return domain


def test_an_instruct_model_is_asked_with_its_own_template(tmp_path: Path) -> None:
    base = model(tmp_path / "model")
    assert chat_template(str(base)) == CHATML
    found = settle(config(tmp_path, base))
    assert found.config.domain.options["chat"] is True
    assert found.said == (f"domain.options.chat = true: {base} is an instruct model",)
    domain = asked(found.config)
    (task,) = domain.tasks("test", 1, 0)
    assert all(isinstance(prompt, tuple) for prompt in (domain.prompt(task), *domain.questions(task)))
    assert domain.stop == ()


def test_a_model_in_object_storage_is_settled_without_a_copy_of_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = model(tmp_path / "model").as_uri()
    assert chat_template(url) == CHATML
    assert settle(config(tmp_path, url)).config.domain.options["chat"] is True
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_base_is_asked_in_text_with_a_cue_and_answers_in_a_line(tmp_path: Path) -> None:
    found = settle(config(tmp_path, model(tmp_path / "model", template=None)))
    assert found.config.domain.options["chat"] is False
    domain = asked(found.config)
    (task,) = domain.tasks("test", 1, 0)
    assert domain.questions(task) == (CUED.replace("{title}", task.title).replace("{question}", "Which?"),)
    assert domain.stop == ("\n",)
    shown = domain.baseline("in-context", task, 0)
    assert shown
    assert str(shown.questions[0]).startswith(f"{task.title}\n{task.context}\n\n")
    assert str(shown.questions[0]).endswith("\nAnswer:")


def test_a_base_that_carries_its_instruct_models_template_is_still_a_base(tmp_path: Path) -> None:
    base = model(tmp_path / "model", eos="<|endoftext|>")
    assert chat_template(str(base)) == CHATML
    assert not is_instruct(str(base))
    assert settle(config(tmp_path, base)).config.domain.options["chat"] is False
    assert settle(config(tmp_path, base, options="chat = true")).config.domain.options["chat"] is True


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
def test_a_model_that_names_by_number_where_it_stops_is_understood(tmp_path: Path, where: str) -> None:
    base = model(tmp_path / "model", eos="<|endoftext|>")
    said = json.loads((base / "config.json").read_text()) if where == "config.json" else {}
    (base / where).write_text(json.dumps(said | {"eos_token_id": [1, 2]}))
    assert is_instruct(str(base))


def test_a_template_may_stand_in_the_tokenizers_config_alone_or_among_others(tmp_path: Path) -> None:
    for number, held in enumerate(
        (CHATML, [{"name": "tool", "template": "x"}, {"name": "default", "template": CHATML}])
    ):
        base = model(tmp_path / f"model{number}", template=None)
        tokenizer = json.loads((base / "tokenizer_config.json").read_text())
        (base / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"chat_template": held}))
        assert chat_template(str(base)) == CHATML


def test_a_model_without_a_template_that_is_to_chat_is_refused_before_anything_starts(tmp_path: Path) -> None:
    base = model(tmp_path / "model", template=None)
    for refuse in (prepare, look):
        with pytest.raises(
            UserError, match=f"domain.options.chat = true: {base} has no chat template; take an instruct"
        ):
            refuse(config(tmp_path, base, options="chat = true"))
    assert not (tmp_path / "run").exists()


def test_a_domain_that_only_chats_refuses_a_model_without_a_template(tmp_path: Path) -> None:
    pair = {"input": [[1, 2]], "output": [[2, 1]]}
    tree = (
        f'[model]\npath = "{model(tmp_path / "model", template=None)}"\n[domain]\nname = "arc"\ntrain = 1\ntest = 1\n'
    )
    for number, name in enumerate(("train", "test")):
        puzzle = {"train": [pair, {"input": [[3]], "output": [[number]]}], "test": [pair]}
        (tmp_path / f"{name}.json").write_text(json.dumps({f"a {name} puzzle": puzzle}))
    (tmp_path / "run.toml").write_text(f'{tree}[domain.options]\ntrain = "train.json"\ntest = "test.json"\n')
    with pytest.raises(UserError, match=r"domain.name 'arc' asks in chats, and model.path .* has no chat template"):
        prepare(load(tmp_path / "run.toml"))


@pytest.mark.parametrize(("template", "chats"), [(CHATML, True), (None, False)])
def test_a_judge_that_is_the_base_itself_is_asked_likewise(tmp_path: Path, template: str | None, chats: bool) -> None:
    base = model(tmp_path / "model", template=template)
    found = settle(config(tmp_path, base, "--grading.name", "local judge"))
    assert found.config.grading.options == {"chat": chats}


def test_what_was_settled_is_what_the_run_is_and_a_changed_template_is_refused(tmp_path: Path) -> None:
    base = model(tmp_path / "model")
    ready = prepare(config(tmp_path, base))
    assert ready.identity.settings["domain"]["options"]["chat"] is True
    assert prepare(ready.config).identity == ready.identity
    (base / "chat_template.jinja").write_text(CHATML + " ")
    assert prepare(config(tmp_path, base)).identity.contents != ready.identity.contents


def test_a_dry_run_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config(tmp_path, model(tmp_path / "model"))
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(tmp_path / "run.toml"), "--dry-run"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["domain"]["options"]["chat"] is True
    assert "domain.options.chat = true" in shown.err


def test_a_dry_run_does_not_ask_the_hub_and_says_what_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path, "org/model-that-nobody-has")
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(tmp_path / "run.toml"), "--dry-run"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["domain"]["options"]["chat"] == "auto"
    assert "is not in this machine's cache, and the hub was not asked" in shown.err


def test_runs_of_before_go_on_with_the_prompts_they_had() -> None:
    old = {"domain": {"name": "knowledge", "options": {"train": "x"}}, "grading": {"name": "local judge"}}
    now = brought_up(old, "config.json")
    assert now["domain"]["options"] == {"train": "x", "chat": False, "question": PLAIN}
    assert now["grading"]["options"] == {"chat": True}
    chose = brought_up({"domain": {"name": "knowledge", "options": {"chat": True}}}, "config.json")
    assert chose["domain"]["options"]["chat"] is True


def test_the_papers_jobs_keep_their_prompts() -> None:
    for job in ("knowledge", "knowledge_best", "knowledge_eval", "cpt", "continual"):
        options = load(Path(__file__).parents[2] / f"jobs/{job}.toml").domain.options
        assert (options["chat"], options["question"]) == (False, PLAIN)
