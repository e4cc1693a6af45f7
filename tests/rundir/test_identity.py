"""A run is its settings and what stands behind them; whatever changed under it is found and named."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from seal_ray import config as configs
from seal_ray.cli.app import _CONTINUED, app
from seal_ray.config import Config
from seal_ray.domains.registry import load_domain
from seal_ray.loop.run import run
from seal_ray.model.locate import resolve
from seal_ray.observe.progress import Silent
from seal_ray.record import schema
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import CONFIG, Claim, claimed, recorded_config
from seal_ray.rundir.identity import identify
from seal_ray.types import UserError
from tests.runs import results, small_run

OLD = Path(__file__).parents[1] / "data/run-0.1.0"
PASSAGES = [{"title": f"T{n}", "context": f"Fact {n}.", "questions": [["Which?", str(n)]]} for n in range(6)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a model, passages and a prompt, to be changed under a run."""
    shutil.copytree(resolve("microworld"), tmp_path / "model")
    (tmp_path / "passages.jsonl").write_text("\n".join(map(json.dumps, PASSAGES)))
    (tmp_path / "prompt.txt").write_text("What follows from {context}?\n")
    return tmp_path


def knowledge(world: Path, *more: str) -> Config:
    tree = f"""
    [run]
    dir = "{world}/run"
    [model]
    path = "{world}/model"
    [domain]
    name = "knowledge"
    options = {{ train = "{world}/passages.jsonl", template = "{world}/prompt.txt" }}
    """
    (world / "run.toml").write_text(tree)
    return configs.load(world / "run.toml", more)


def begin(config: Config, force: bool = False) -> Claim:
    """The directory claimed, and a first row written: what a run does before anything else."""
    store = Store(config.dir)
    with claimed(store, config, identify(config, load_domain(config)), force) as claim:
        journal = Journal(store, claim.run)
        journal.append("spans", {"key": "first", "what": "sample"})
        journal.flush()
    return claim


def shaken(weights: Path) -> None:
    """One number of one matrix is another; size and names stay."""
    held = load_file(weights)
    name = sorted(name for name, value in held.items() if value.ndim > 1)[-1]
    held[name] = held[name].copy()
    held[name].flat[-1] = np.nextafter(held[name].flat[-1], np.float32(9))
    save_file(held, weights, metadata={"format": "pt"})


def appended(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(path.read_text() + text)


CHANGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "the prompt": ("prompt.txt", appended("Think."), "domain.options.template"),
    "a passage": ("passages.jsonl", appended("\n" + json.dumps(PASSAGES[0] | {"title": "U"})), "domain.options.train"),
    "one weight": ("model/model.safetensors", shaken, "model.path: model.safetensors"),
    "the tokenizer": ("model/tokenizer.json", appended("\n"), "model.path: tokenizer.json"),
    "the chat template": (
        "model/chat_template.jinja",
        lambda path: path.write_text("{{ messages }}"),
        "model.path: chat_template.jinja",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_behind_a_path_is_refused_by_name(world: Path, what: str) -> None:
    begin(knowledge(world))
    name, change, setting = CHANGES[what]
    change(world / name)
    with pytest.raises(UserError, match=f"another config .*{setting}: the content (has changed|is new)"):
        begin(knowledge(world))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_right_answers_of_puzzles_belong_to_the_run(world: Path, split: str) -> None:
    """Which lie in files of their own."""
    tree = f'[run]\ndir = "{world}/run"\n[model]\npath = "{world}/model"\n[domain]\nname = "arc"\n[domain.options]\n'
    for name in ("train", "test"):
        pair = {"input": [[1, 2]], "output": [[2, len(name)]]}
        puzzle = {"train": [pair, pair], "test": [{"input": [[3, 4]]}]}
        for file, held in {name: puzzle, f"{name}_solutions": [[[4]]]}.items():
            (world / f"{file}.json").write_text(json.dumps({f"a {name} puzzle": held}))
            tree += f'{file} = "{world}/{file}.json"\n'
    (world / "arc.toml").write_text(tree)
    config = configs.load(world / "arc.toml")
    begin(config)
    solutions = world / f"{split}_solutions.json"
    solutions.write_text(solutions.read_text().replace("4", "5"))
    with pytest.raises(UserError, match=rf"domain.options.{split}_solutions: the content has changed"):
        begin(config)


@pytest.mark.parametrize(
    ("weights", "kept"),
    [
        ("/gone/python3.9/site-packages/seal_ray/grading/weights.json", {}),
        ("/gone/mine.json", {"weights": "/gone/mine.json"}),
    ],
)
def test_a_run_goes_on_with_what_ships_where_the_package_is_installed_now(weights: str, kept: dict[str, str]) -> None:
    tree = {"grading": {"name": "offline", "options": {"weights": weights}}}
    assert schema.brought_up(tree, "config.json")["grading"]["options"] == kept


def test_the_weights_of_a_grader_belong_to_the_run(world: Path) -> None:
    from seal_ray.grading.offline import WEIGHTS

    shutil.copy(WEIGHTS, world / "w.json")
    weights = ("--grading.name", "offline", "--grading.options", json.dumps({"weights": f"{world}/w.json"}))
    begin(knowledge(world, *weights))
    appended("\n")(world / "w.json")
    with pytest.raises(UserError, match=r"grading.options.weights: the content has changed"):
        begin(knowledge(world, *weights))


def test_files_that_only_moved_are_the_same_run(world: Path) -> None:
    first = begin(knowledge(world))
    (world / "elsewhere").mkdir()
    for name in ("model", "passages.jsonl", "prompt.txt"):
        (world / name).rename(world / "elsewhere" / name)
    moved = knowledge(world / "elsewhere", "--run.dir", str(world / "run"))
    assert begin(moved) == first


def test_an_option_given_at_its_default_is_the_same_run_as_one_left_out(world: Path) -> None:
    assert begin(knowledge(world)) == begin(knowledge(world, "--domain.options.style", "implications"))


def test_the_engine_that_auto_comes_to_is_part_of_the_run(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = ("--sampling.engine", "auto")
    begin(knowledge(world, *auto))
    monkeypatch.setattr("seal_ray.workers.sampler.find_spec", lambda name: object())
    on_gpus = (*auto, "--workers.gpus_per_sampler", "1")
    with pytest.raises(UserError, match=r"sampling.engine: 'transformers' -> 'vllm'"):
        begin(knowledge(world, *on_gpus, "--update.lora.rank", "64"))


def test_a_directory_without_a_row_is_nobodys_run(world: Path) -> None:
    config = knowledge(world)
    with claimed(Store(config.dir), config, identify(config, load_domain(config))):
        pass
    other = begin(knowledge(world, "--run.seed", "2"))
    assert recorded_config(config.dir).run.seed == 2
    assert other.run


def test_a_journal_that_does_not_say_whose_it_is_is_refused(world: Path) -> None:
    config = knowledge(world)
    begin(config)
    (world / "run" / CONFIG).unlink()
    with pytest.raises(UserError, match=r"holds a journal and no config.json"):
        begin(config)
    begin(config, force=True)
    assert (world / "run.aside-1/journal").is_dir()


def test_a_link_stays_and_the_directory_that_it_led_to_is_moved_aside_where_it_is(world: Path) -> None:
    (world / "disk").mkdir()
    (world / "run").symlink_to(world / "disk/mine", target_is_directory=True)
    with pytest.raises(UserError, match="run: is a symbolic link that leads to no folder; remove it"):
        begin(knowledge(world), force=True)
    (world / "disk/mine").mkdir()
    begin(knowledge(world))
    begin(knowledge(world, "--run.seed", "2"), force=True)
    assert (world / "run").is_symlink()
    seeds = [recorded_config(str(world / place)).run.seed for place in ("run", "disk/mine", "disk/mine.aside-1")]
    assert seeds == [2, 2, 1]
    (world / "self").symlink_to("self")
    (world / "file").touch()
    for name, said in (("self", "a symbolic link that leads to no folder"), ("file", "no folder")):
        with pytest.raises(UserError, match=f"{name}: is {said}; remove it, or name another directory"):
            begin(knowledge(world, "--run.dir", str(world / name)), force=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '"config"'])
def test_a_config_that_cannot_be_read_is_named_and_can_be_set_aside(world: Path, text: str) -> None:
    config = knowledge(world)
    begin(config)
    (world / "run" / CONFIG).write_text(text)
    with pytest.raises(UserError, match="whose run this is is not known"):
        begin(config)
    begin(config, force=True)


def test_what_is_advised_for_another_run_is_what_its_commands_have(world: Path) -> None:
    """`resume` and `demo` have no `--force`, and may be what is told."""
    begin(knowledge(world))
    with pytest.raises(UserError, match="put back what it was started with") as refused:
        begin(knowledge(world, "--run.seed", "2"))
    forced, _, _ = str(refused.value).partition(" do with --force")
    has = {
        name: {each for given in app[name].assemble_argument_collection() for each in given.names}
        for name in _CONTINUED
    }
    assert re.findall(r"`(\w+)`", forced) == [name for name, options in has.items() if "--force" in options]


def test_a_segment_of_another_run_is_no_part_of_this_one(world: Path) -> None:
    begin(knowledge(world))
    other = knowledge(world, "--run.seed", "2", "--run.dir", str(world / "other"))
    claim = begin(other)
    for segment in (world / "run/journal/spans").iterdir():
        shutil.copy(segment, world / "other/journal/spans" / f"7{segment.name}")
    whole = Journal(Store(other.dir), claim.run).table("spans")
    assert len(whole) == 1
    shutil.rmtree(world / "other/journal")
    shutil.copytree(world / "run/journal", world / "other/journal")
    with pytest.raises(UserError, match="holds rows of another run"):
        Journal(Store(other.dir), claim.run).table("spans")


@pytest.mark.parametrize("after", range(3))
def test_a_kill_while_a_run_is_set_aside_never_leaves_its_journal_to_another(
    world: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Killed before the first, second or third change of name that is made."""
    begin(knowledge(world))
    other, renames = knowledge(world, "--run.seed", "2"), 0
    whole = Path.rename

    def killed(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames > after:
            raise KeyboardInterrupt
        return whole(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        try:
            begin(other, force=True)
        except KeyboardInterrupt:
            assert after == 0
    begin(other, force=True)
    assert recorded_config(str(world / "run.aside-1")).run.seed == 1
    assert [row["key"] for row in Journal(Store(f"{world}/run.aside-1")).rows("spans")] == ["first"]


def test_a_newer_versions_run_is_left_to_it(world: Path) -> None:
    config = knowledge(world)
    begin(config)
    tree = json.loads((world / "run" / CONFIG).read_text())
    (world / "run" / CONFIG).write_text(json.dumps(tree | {"schema": schema.SCHEMA + 1}))
    with pytest.raises(UserError, match="written by a newer version of seal_ray"):
        begin(config)


@pytest.mark.slow
def test_a_run_of_0_1_0_is_continued_where_it_stopped(tmp_path: Path, in_process: Counter[str]) -> None:
    """Stopped after its update: what it had done is not done again, and what was missing is."""
    folder = tmp_path / "run"
    shutil.copytree(OLD, folder)
    before = results(folder)
    summary = run(recorded_config(str(folder)), Silent())
    assert set(summary) == {"base", "passage only", "untrained self-edits", "after round 1"}
    untrained = 2  # trials that 0.1.0 had no use for: what each of its tasks scores without any training
    assert in_process == {"sample": 2, "trial": 2 + untrained}
    after = results(folder)
    assert all(before[table].items() <= after[table].items() for table in before)
    assert json.loads((folder / CONFIG).read_text())["schema"] == schema.SCHEMA


def test_settings_of_other_names_are_refused_in_a_file_and_followed_in_a_directory(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(knowledge(world))
    tree = json.loads((world / "run" / CONFIG).read_text())
    tree["config"]["sampling"]["candidates"] = tree["config"]["sampling"].pop("per_task")
    tree["config"]["sampling"]["gone"] = 0
    (world / "run" / CONFIG).write_text(json.dumps(tree))
    monkeypatch.setitem(schema.RENAMED, "sampling.candidates", "sampling.per_task")
    monkeypatch.setitem(schema.DROPPED, "sampling.gone", 0)
    begin(knowledge(world))
    with pytest.raises(UserError, match=r"'sampling.candidates' is called 'sampling.per_task' now"):
        knowledge(world, "--sampling.candidates", "3")
    tree["config"]["sampling"]["gone"] = 1
    (world / "run" / CONFIG).write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"sampling.gone is 1, and this version only does what 0 did"):
        begin(knowledge(world))


def test_the_same_small_run_has_the_same_name_everywhere(tmp_path: Path) -> None:
    one, two = small_run(tmp_path / "one"), small_run(tmp_path / "two", "--workers.trainers", "2")
    assert identify(one, load_domain(one)).name == identify(two, load_domain(two)).name


@pytest.mark.parametrize(
    "harm",
    [
        {"config": 5},
        {"config": {"run": 7}},
        {"config": {"run": {"rounds": {}}}},
        {"identity": None},
        {"identity": {"contents": 3}},
        {"since": "x"},
        {"since": None},
    ],
    ids=str,
)
def test_a_config_file_that_no_run_wrote_is_one_line_that_names_it(tmp_path: Path, harm: dict[str, Any]) -> None:
    config = small_run(tmp_path)
    with claimed(Store(str(tmp_path)), config, identify(config, load_domain(config))):
        pass
    path = tmp_path / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **harm}))
    with pytest.raises(UserError) as said:
        recorded_config(str(tmp_path))
    assert CONFIG in str(said.value)
    assert "\n" not in str(said.value)


def test_a_config_file_nested_beyond_reason_is_one_line(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"config": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        recorded_config(str(tmp_path))
