"""The config tree: typed, overridable, and strict about what it does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seal_ray.config import adjusted, difference, load
from seal_ray.types import UserError

MINIMAL = '[model]\npath = "microworld"\n[domain]\nname = "microworld"\n'
JOBS = sorted((Path(__file__).parents[1] / "jobs").glob("*.toml"))
CPT = Path(__file__).parents[1] / "jobs/cpt.toml"


def written(folder: Path, text: str) -> str:
    path = folder / "run.toml"
    path.write_text(text)
    return str(path)


def test_overrides_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "[run]\nseed = 5\nrounds = 3\n")
    config = load(path, ["--run.seed", "7", "--trial.optim.lr=1e-2", "--trial.lora.targets", '["q_proj"]'])
    assert (config.run.seed, config.run.rounds, config.trial.optim.lr) == (7, 3, 1e-2)
    assert config.trial.lora.targets == ("q_proj",)
    assert config.trial.seeds == 3


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["--run.sed", "1"], r"unknown key 'run.sed'; did you mean 'run.seed'\?"),
        (["--runn.seed", "1"], r"unknown key 'runn'; did you mean 'run'\?"),
        (["--trial.optim.lrr", "1"], r"unknown key 'trial.optim.lrr'; did you mean 'trial.optim.lr'\?"),
        (["--trial.lora.zzzz", "1"], r"known here: alpha, rank, targets"),
        (["--run.seed", "many"], r"'run.seed': input should be a valid integer.*got 'many'"),
        (["--run.seed.deep", "1"], r"'seed' is a value, not a section"),
        (["--model", "x.gguf"], r"'model': a section, whose settings are model.path, .*\(got 'x.gguf'\)"),
        (["--trial.optim", "3"], r"'trial.optim': a section, whose settings are trial.optim.lr, .*got 3"),
        (["--run.seed"], r"--run.seed needs a value"),
        (["seed"], r"unexpected argument 'seed'"),
    ],
)
def test_what_a_config_does_not_know_is_refused_with_the_near_miss(
    tmp_path: Path, overrides: list[str], complaint: str
) -> None:
    path = written(tmp_path, MINIMAL + "[run]\nseed = 1\n")
    with pytest.raises(UserError, match=complaint):
        load(path, overrides)


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["--run.sed", "1"], "the command line"),
        (["--runn.seed", "1"], "the command line"),
        (["--run.seed", "many"], "the command line"),
        (["--trial.lora.targets", '[""]'], "the command line"),
        (["--run.rounds", "1"], "{path}"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_not_blamed_on_the_file(
    tmp_path: Path, overrides: list[str], where: str
) -> None:
    wrong = "" if where == "the command line" else "seed = 'none'\n"
    path = written(tmp_path, MINIMAL + "[run]\n" + wrong)
    with pytest.raises(UserError) as error:
        load(path, overrides)
    assert str(error.value).startswith(where.format(path=path) + ": ")


NO_TRIAL_RUNS_WITH = [
    *(("--trial.lora.rank", value) for value in ("0", "-4", "1000000000")),
    *(("--trial.lora.alpha", value) for value in ("0", "NaN", "Infinity")),
    *(("--trial.lora.targets", value) for value in ("[]", '[""]')),
    *(("--trial.optim.lr", value) for value in ("0", "-1", "NaN", "1e308")),
    *(("--update.optim.epochs", value) for value in ("0", "-1", "1000000000")),
    *(("--trial.optim.batch_size", value) for value in ("0", "1e12")),
    *(("--trial.optim.warmup_steps", value) for value in ("-1",)),
    *(("--trial.optim.betas", value) for value in ("[2, 3]", "[0.9, 1]", "[-0.1, 0.9]", "[0.9]")),
    *(("--trial.optim.eps", value) for value in ("0", "NaN")),
    *(("--trial.optim.weight_decay", value) for value in ("-1", "Infinity")),
    *(("--trial.optim.clip_norm", value) for value in ("-1", "NaN", "Infinity")),
    *(("--sampling.temperature", value) for value in ("-1", "NaN", "Infinity")),
    *(("--sampling.top_p", value) for value in ("0", "NaN", "1.1")),
    *(("--run.name", value) for value in ("../../x", "a/b", "..", "", "a\nb", "-x")),
    *(("--run.rounds", value) for value in ("-1", "1000000000000")),
    *(("--workers.cpus", value) for value in ("-1", "NaN")),
    *(("--workers.slots", value) for value in ("0", "1000000000")),
    *(("--update.kl_coef", value) for value in ("-1", "NaN")),
]


@pytest.mark.parametrize(("setting", "value"), NO_TRIAL_RUNS_WITH)
def test_a_setting_that_no_trial_can_run_with_is_refused_by_its_name(tmp_path: Path, setting: str, value: str) -> None:
    with pytest.raises(UserError, match=f"'{setting.removeprefix('--')}"):
        load(written(tmp_path, MINIMAL), [setting, value])


def test_numbers_of_a_domains_own_options_must_be_finite_too(tmp_path: Path) -> None:
    from seal_ray.domains.registry import load_domain

    options = ("--domain.name", "knowledge", "--domain.options.train", "x", "--domain.options.test_fraction", "NaN")
    with pytest.raises(UserError, match="test_fraction"):
        load_domain(load(written(tmp_path, MINIMAL), options))


@pytest.mark.parametrize("value", ["all-linear", '["all-linear"]', "q_proj"])
def test_one_target_is_given_as_itself_or_in_a_list_as_in_peft(tmp_path: Path, value: str) -> None:
    config = load(written(tmp_path, MINIMAL), ["--trial.lora.targets", value, "--update.lora.targets", value])
    assert config.trial.lora.targets == config.update.lora.targets == (value.strip('[]"'),)


def test_a_value_nested_beyond_all_sense_is_a_wrong_value_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'run.seed'"):
        load(written(tmp_path, MINIMAL), ["--run.seed", "[" * 100_000])
    with pytest.raises(UserError, match="not valid TOML"):
        load(written(tmp_path, "a = " + "[" * 20_000))
    with pytest.raises(UserError, match="no config of a run"):
        load(written(tmp_path, "1." * 50_000 + "1 = 1"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[model\n", "not valid TOML"),
        ("", "'model' is missing"),
        (MINIMAL.replace("path", "pth"), "did you mean 'model.path'"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=complaint) as error:
        load(path)
    assert str(error.value).startswith(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"nowhere.toml: no such config file"):
        load("nowhere.toml")


def test_where_a_run_lives_and_on_how_many_workers_is_not_part_of_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    here = load(path).identity()
    assert load(path, ["--run.dir", "/elsewhere", "--workers.trainers", "9"]).identity() == here
    assert difference(here, load(path, ["--run.seed", "2"]).identity()) == ["run.seed: 1 -> 2"]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    load(path)


def test_a_run_goes_on_with_other_workers_and_observers_and_nothing_else(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL))
    given = ["--workers.trainers", "8", "--run.observers", '["jsonl"]', "--sampling.patience", "9"]
    found = adjusted(config, given)
    assert (found.workers.trainers, found.run.observers, found.sampling.patience) == (8, ("jsonl",), 9)
    assert found.identity() == config.identity()
    for name, value in (("run.seed", "3"), ("run.dir", "elsewhere"), ("trial.optim.lr", "1e-5")):
        with pytest.raises(UserError, match=f"^--{name}: a run goes on as it was begun"):
            adjusted(config, [*given, f"--{name}", value])


def test_importing_the_package_and_its_config_loads_nothing_heavy() -> None:
    code = (
        "import sys, seal_ray, seal_ray.config, seal_ray.cli.app\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'vllm', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_driver_never_imports_torch() -> None:
    code = (
        "import sys, seal_ray.loop.run, seal_ray.ops.jobs, seal_ray.cli.demo, seal_ray.report\n"
        "from seal_ray.domains.registry import DOMAINS\n"
        "from seal_ray.plugins import find\n"
        "[find('domain', name, DOMAINS) for name in DOMAINS]\n"
        "print([m for m in ('torch', 'vllm') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_training_all_weights_goes_with_all_texts_together() -> None:
    with pytest.raises(UserError, match="set joint = true too"):
        load(CPT, ["--evaluation.joint", "false", "--evaluation.full_finetune", "true"])
    assert load(CPT, ["--evaluation.full_finetune", "true"]).evaluation.full_finetune


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["--workers.address", "in-process", "--trial.eval_engine", "vllm"],
            'workers.address = "in-process" needs trial.eval_engine = "bank"',
        ),
        (
            ["--evaluation.full_finetune", "true"],
            "'evaluation': full_finetune trains all weights on all texts at once; set joint = true too",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_said_without_all_the_others(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    path = written(tmp_path, MINIMAL)
    with pytest.raises(UserError) as error:
        load(path, overrides)
    assert str(error.value).partition(": ")[2] == said


def test_of_a_value_that_is_wrong_no_more_is_shown_than_fits_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'run.seed'") as error:
        load(written(tmp_path, MINIMAL), ["--run.seed", "9" * 5000])
    assert len(str(error.value)) < 600
