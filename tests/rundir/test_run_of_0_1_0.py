"""Every command takes a run that 0.1.0 began, or says in one line why it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.cli.app import main
from seal_ray.config import flat
from seal_ray.reading import as_tree
from seal_ray.record.journal import Journal
from seal_ray.record.rows import PlannedRow
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from tests.runs import CONFIG

OLD = Path(__file__).parents[1] / "data/run-0.1.0"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def seal_ray(*arguments: str) -> str:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return str(ended.value)


READING = (
    *("eval RUN", "report RUN", "watch RUN --once", "ls RUN", "repair RUN", "compare RUN RUN"),
    *("adapters list RUN", "adapters show RUN main/1", "export RUN --self-edits OUT", "ask RUN Who?"),
    *("export RUN --adapter OUT", "adapters export RUN main/1 --into OUT", "adapters merge RUN main/1 --into OUT"),
)


@pytest.mark.slow
@pytest.mark.parametrize("command", [*READING, "export RUN --merged OUT"])
def test_whoever_reads_it_finds_what_is_there_and_changes_none_of_it(command: str, old: Path) -> None:
    words = [word.replace("RUN", str(old)).replace("OUT", str(old.with_name("out"))) for word in command.split()]
    assert seal_ray(*words) == "0"
    before, now = ({file.relative_to(root) for file in root.rglob("*") if file.is_file()} for root in (OLD, old))
    assert now - before <= {Path("report.html"), Path(".lock")}
    assert all((OLD / name).read_bytes() == (old / name).read_bytes() for name in before)


def test_its_adapter_is_exported_as_it_was_trained(old: Path) -> None:
    out = old.with_name("out")
    assert seal_ray("export", str(old), "--adapter", str(out)) == "0"
    assert Adapter.load(out).ref == Adapter.load(OLD / "policies/0001").ref
    served = (out / "README.md").read_text().partition("`vllm serve ")[2].split()[0]
    assert (Path(served) / "config.json").is_file(), "vLLM knows no base by the name that it ships with"


@pytest.mark.slow
def test_its_last_trial_is_done_again_alone_with_the_same_answers(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = [row.trial for row in Journal(Store(str(old))).read(PlannedRow)][-1]
    assert seal_ray("explain", str(old), trial, "--again") == "0"
    shown = capsys.readouterr().out
    assert "reward again: 0.5 (the same)\nanswers again: the same" in shown


def same_settings(old: Path) -> list[str]:
    """What a config of today needs to be the same run."""
    config = recorded_config(str(old))
    sections = {name: as_tree(getattr(config, name)) for name in ("trial", "sampling", "selection", "update")}
    tree = sections | {"domain": {"train": 2, "test": 2}, "run": {"rounds": 1}, "evaluation": {"samples": 1}}
    tree |= {"model": {"dtype": config.model.dtype, "max_length": config.model.max_length}}
    return [word for name, value in flat(tree) for word in (f"--{name}", json.dumps(value))]


def test_run_goes_on_in_it_where_the_settings_are_the_same(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["run", str(CONFIG), *same_settings(old), "--run.dir", str(old), "--dry-run"]
    assert seal_ray(*given) == "0"
    assert f"a run would go on in {old}" in capsys.readouterr().err
    assert seal_ray(*given, "--trial.optim.epochs", "11") == "2"
    assert "another config (trial.optim.epochs: 10 -> 11)" in capsys.readouterr().err


def test_a_plan_says_that_0_1_0_did_not_write_down_what_it_goes_by(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seal_ray("plan", str(CONFIG), *same_settings(old), "--from", str(old)) == "2"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{old}: what it did was done by 0.1.0, which did not write down when workers were busy" in line
