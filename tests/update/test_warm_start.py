"""A warm start: a policy taught the form of self-edits from a file, before the first round."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from seal_ray.config import load
from seal_ray.domains.registry import load_domain
from seal_ray.looking.again import again
from seal_ray.looking.explained import explain
from seal_ray.looking.explanation import lines
from seal_ray.looking.held import Shelf
from seal_ray.looking.picture import Picture
from seal_ray.looking.seen import look
from seal_ray.looking.stages import is_whole
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import run
from seal_ray.observe.progress import Silent
from seal_ray.ops.card import model_card
from seal_ray.ops.export import chosen_policy
from seal_ray.policy.catalogue import catalogue_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow, PolicyRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, summarize
from seal_ray.report.data import read_run
from seal_ray.report.page import render
from seal_ray.rundir.identity import differences, identify
from seal_ray.types import Example, Message, UserError
from seal_ray.update.warm_start import warm_start
from seal_ray.workers.in_process import InProcessCluster
from tests.runs import CONFIG, results, small_run

TINY = ("--domain.train", "2", "--domain.test", "1", "--update.kl_coef", "0", "--update.optim.epochs", "2")
NOTE = {"prompt": "notes:", "completion": "figs live in Velmo"}


def written(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def read(path: Path | str) -> tuple[Example, ...]:
    config = load(CONFIG, ["--update.warm_start", str(path)])
    found = warm_start(config, load_domain(config))
    assert found
    return found.examples


def test_a_line_names_its_prompt_or_its_task_or_is_a_chat(tmp_path: Path) -> None:
    config = load(CONFIG)
    domain = load_domain(config)
    task = domain.tasks("train", None, config.run.seed)[0]
    turns = [{"role": "user", "content": "notes?"}, {"role": "assistant", "content": "figs"}]
    of_task, cut = {"task": task.id, "completion": "a note"}, NOTE | {"finished": False}
    found = read(written(tmp_path / "x.jsonl", NOTE, "", of_task, {"messages": turns}, cut))
    assert found == (
        Example("figs live in Velmo", "notes:"),
        Example("a note", domain.prompt(task)),
        Example("figs", (Message("user", "notes?"),)),
        Example("figs live in Velmo", "notes:", whole=False),
    )


def test_a_line_ends_where_the_file_has_a_new_line_and_not_within_a_text(tmp_path: Path) -> None:
    """What `export` writes of a text that other characters end lines in, and what an editor puts before it."""
    path, note = tmp_path / "x.jsonl", NOTE | {"completion": "figs\u2028live\x85in Velmo"}
    line = json.dumps(note, ensure_ascii=False)
    path.write_text(f"\ufeff{line}\r\n{line}\n", encoding="utf-8")
    assert [example.completion for example in read(path)] == [note["completion"]] * 2


def test_a_half_of_a_character_which_no_tokenizer_takes_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(r'{"prompt": "notes\ud800", "completion": "figs\udfff"}')
    assert read(path) == (Example("figs\ufffd", "notes\ufffd"),)


def test_chats_for_a_base_without_a_template_are_refused_as_those_of_the_file(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "notes?"}, {"role": "assistant", "content": "figs"}]
    path = written(tmp_path / "x.jsonl", {"messages": turns})
    with pytest.raises(UserError, match=r"update\.warm_start .*x\.jsonl' asks in chats, and model\.path 'microworld'"):
        prepare(small_run(tmp_path / "run", "--update.warm_start", str(path)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("figs", "not JSON"),
        ("[1]", "no JSON object; give a prompt and a completion"),
        ({"completion": "x"}, "give a prompt and a completion, a task and a completion, or messages"),
        ({"prompt": "x", "task": "y", "completion": "z"}, "give a prompt and a completion"),
        ({"prompt": "x", "completion": " "}, "'completion' must be a text that is not empty"),
        ({"prompt": 3, "completion": "x"}, "'prompt' must be a text or turns"),
        ({"prompt": [{"role": "bot", "content": "x"}], "completion": "x"}, "each turn of 'prompt' has a role"),
        ({"task": "nowhere", "completion": "x"}, "no training task is called 'nowhere'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "'messages' must end with what the assistant writes"),
        ({"messages": "x"}, "'messages' must be a text or turns"),
    ],
)
def test_a_line_that_is_no_example_is_named_by_file_and_number(line: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(written(tmp_path / "x.jsonl", NOTE, line))
    assert str(refused.value).startswith(f"{tmp_path / 'x.jsonl'}:2: ")
    assert said in str(refused.value)


def test_a_file_that_is_missing_or_empty_is_refused_before_a_directory_is_touched(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "gone.jsonl", "no such file"),
        (written(tmp_path / "bare.jsonl"), "has no examples"),
    ):
        with pytest.raises(UserError, match=said):
            prepare(small_run(tmp_path / "run", "--update.warm_start", str(path)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", ["s3://bucket/x.jsonl", "hf:someone/notes"])
def test_a_file_that_is_elsewhere_is_to_be_copied_here(path: str) -> None:
    with pytest.raises(UserError, match=f"warm_start: {path}: must be a JSONL file on this machine"):
        read(path)


def test_its_path_starts_at_the_config_and_its_content_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(f'extends = "{CONFIG}"\n[update]\nwarm_start = "x.jsonl"\n')
    written(tmp_path / "x.jsonl", NOTE)
    config = load(tmp_path / "job.toml")
    assert config.update.warm_start == str(tmp_path / "x.jsonl")
    domain = load_domain(config)
    before, without = identify(config, domain), identify(replace(config, update=load(CONFIG).update), domain)
    assert identify(load(CONFIG), domain).tree() == without.tree()
    elsewhere = written(tmp_path / "y.jsonl", NOTE)
    same = replace(config, update=replace(config.update, warm_start=str(elsewhere)))
    assert differences(before, identify(same, domain)) == []
    written(tmp_path / "x.jsonl", NOTE, NOTE)
    (line,) = differences(before, identify(config, domain))
    assert line.startswith("update.warm_start: the content has changed")
    (line,) = differences(without, before)
    assert line.startswith("update.warm_start: the content is new")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round after a warm start on two examples, stopped once its policy was on record, and continued."""
    folder = tmp_path_factory.mktemp("warm")
    config = load(CONFIG)
    tasks = load_domain(config).tasks("train", 2, config.run.seed)
    examples = [{"task": task.id, "completion": task.context} for task in tasks]
    settings = ("--update.warm_start", str(written(folder / "examples.jsonl", *examples)), "--run.rounds", "1")

    class Stops(Silent):
        def on(self, event: object) -> None:
            if isinstance(event, PolicyRow):
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal_ray.loop.session.open_cluster", InProcessCluster)
        config = small_run(folder / "run", *TINY, "--evaluation.baselines", '["base"]', *settings)
        with pytest.raises(KeyboardInterrupt):
            run(config, Stops())
        assert [row.version for row in Journal(Store(str(folder / "run"))).read(PolicyRow)] == [0]
        run(config, Silent())
        before = results(folder / "run")
        run(config, Silent())
        assert results(folder / "run") == before
    return folder / "run"


@pytest.mark.slow
def test_it_is_a_policy_of_its_own_which_the_rounds_begin_with(warm: Path) -> None:
    first, second = sorted(Journal(Store(str(warm))).read(PolicyRow), key=lambda row: row.version)
    assert (first.version, first.parent, first.kept, first.steps) == (0, -1, 2, 2)
    assert (second.version, second.parent, second.rank) == (1, 0, 2 * first.rank)
    assert [(each.name, each.parents) for each in catalogue_of(str(warm))] == [
        ("main/0", ("base",)),
        ("main/1", ("main/0",)),
    ]
    assert list(summarize(Journal(Store(str(warm))))) == ["base", UNTRAINED, "after round 1"]


@pytest.mark.slow
def test_the_baselines_are_those_of_the_untouched_base_and_the_untrained_self_edits_those_of_its_policy(
    warm: Path, tmp_path: Path, in_process: Counter[str]
) -> None:
    bare = ("--run.rounds", "0", "--evaluation.baselines", '["base"]')
    run(small_run(tmp_path / "run", *TINY, *bare), Silent())
    trials = [
        {row.arm: row.trial for row in Journal(Store(str(folder))).read(PlannedRow) if row.stage == "evaluation"}
        for folder in (warm, tmp_path / "run")
    ]
    assert trials[0]["base"] == trials[1]["base"]
    assert trials[0][UNTRAINED] != trials[1][UNTRAINED]
    assert in_process["update"] == 0


@pytest.mark.slow
def test_its_trials_are_explained_and_come_out_the_same_again(warm: Path) -> None:
    planned = list(Journal(Store(str(warm))).read(PlannedRow))
    arms = {row.arm: row for row in planned if row.stage == "evaluation"}
    for arm, under in (("base", "the untrained policy"), (UNTRAINED, "the policy of the warm start")):
        found = explain(str(warm), arms[arm].trial)
        assert f"under {under}" in "\n".join(lines("runs/x", found))
        assert again(str(warm), found).same == dict.fromkeys(("reward", "answers", "failure"), True)


@pytest.mark.slow
def test_who_looks_at_the_run_sees_it(warm: Path) -> None:
    seen = look(Store(str(warm)))
    assert is_whole(seen)
    picture = Picture(str(warm), seen, None)
    assert [stage.name for stage in picture.stages][:2] == ["screening: trials", "warm start: update"]
    assert picture.updates[0].startswith("warm start: loss ")
    page = read_run(str(warm))
    assert page.missing == ()
    assert [round_.number for round_ in page.rounds] == [1]
    assert '<th scope="row">warm start</th>' in render(page)
    shelf = Shelf(str(warm))
    assert shelf.tell(shelf.held[0]).what == "policy of the warm start"
    row = chosen_policy(str(warm), "0")
    assert row.version == 0
    assert chosen_policy(str(warm), "best").version in (0, 1)
    assert "policy after the warm start" in model_card(str(warm), row, merged=False)
    assert all(row.reward is not None for row in Journal(Store(str(warm))).read(OutcomeRow))
