"""Every command that the documentation shows is run by a test, or it is said here why not; and all can be given."""

from __future__ import annotations

import re
import shlex

import pytest

from seal_ray.cli.app import app
from tests.console import PAGES, ROOT, commands, steps
from tests.test_tutorial import HERE

TUTORIAL = "test_tutorial.py::test_a_command_of_the_tutorial_prints_what_is_shown"
RUN_BY = {
    r"seal-ray learn ": "learning/test_learn.py::test_an_adapter_is_made_and_what_it_knows_is_said_in_five_lines",
    r"seal-ray ask ": TUTORIAL,
    r"seal-ray init ": "cli/test_init.py::test_what_is_written_can_begin_at_once_and_takes_ones_own_data_in_one_edit",
    r"seal-ray run jobs/microworld.toml": TUTORIAL,
    r"seal-ray run \S+ --dry-run": "cli/test_cli.py::test_a_dry_run_prints_the_resolved_tree_and_starts_nothing",
    r"seal-ray watch \S+$": "looking/test_watch.py::test_the_command_shows_a_run_once_or_until_it_ends",
    r"seal-ray watch \S+ --once": TUTORIAL,
    r"seal-ray watch \S+ --web": "looking/test_web.py::"
    "test_a_run_that_is_killed_and_goes_on_is_seen_to_its_end_and_the_page_agrees_with_its_journal",
    r"seal-ray eval ": TUTORIAL,
    r"seal-ray report ": TUTORIAL,
    r"seal-ray export ": TUTORIAL,
    r"seal-ray plan ": "plan/test_plan.py::",
    r"seal-ray doctor ": "ops/test_doctor.py::"
    "test_a_machine_that_can_run_the_micro_world_passes_every_check_and_nothing_is_left_behind",
    r"seal-ray ls$": TUTORIAL,
    r"seal-ray ls s3:": "looking/test_listing.py::test_runs_in_object_storage_are_listed_and_a_lease_is_waited_out",
    r"seal-ray ls ~": "cluster/test_jobs.py::test_the_tutorials_job_is_run_and_listed_as_it_is_shown_there",
    r"seal-ray explain \S+( \w+)?$": TUTORIAL,
    r"seal-ray explain .* --again": "looking/test_explain.py::test_the_command_that_is_named_does_the_trial_again",
    r"seal-ray eval .*--over ": "looking/test_regraded.py::test_arms_are_held_to_one_of_them",
    r"seal-ray compare ": "looking/test_compare.py::test_the_command_prints_a_table_or_json",
    r"seal-ray serve ": "serving/test_server.py::"
    "test_the_command_serves_until_it_is_told_to_end_and_says_so_in_one_line",
    r"seal-ray run jobs/(streams|continual)": "loop/test_continual.py::",
    r"seal-ray adapters list": "held/test_list.py::test_the_list_is_for_people_and_for_programs",
    r"seal-ray adapters show": "held/test_list.py::test_one_is_shown_down_to_the_base_with_the_text_it_was_trained_on",
    r"seal-ray adapters (merge|export)": "held/test_merge.py::"
    "test_one_is_exported_with_a_card_and_may_be_merged_from_its_folder",
    r"seal-ray adapters retract": "held/test_retract.py::test_the_command_says_what_changed_passage_by_passage",
    r"seal-ray run CONFIG --domain.name": "examples/test_own_parts.py::test_a_run_goes_through_ones_own_domain",
    r"seal-ray run CONFIG --grading.name": "examples/test_own_parts.py::test_ones_own_grader_judges_in_ones_own_way",
    r"seal-ray run CONFIG --selection.rule": "examples/test_own_parts.py::"
    "test_ones_own_rule_keeps_the_two_shortest_that_taught",
    r"seal-ray run CONFIG --(update.rule|continual.ways)": "examples/test_rules_and_observers.py::",
    r"seal-ray run CONFIG --sampling.playbook": "loop/test_playbook.py::"
    "test_a_hint_that_costs_is_dropped_and_the_policy_writes_others_in_its_place",
    r"seal-ray methods ": "methods/test_run.py::test_the_table_is_printed_and_given_as_numbers",
    r"seal-ray run CONFIG --run.observers": "observe/test_trackers.py::",
    r"seal-ray advise .* --measured": "learning/test_advise.py::test_a_run_of_ones_own_is_gone_by_instead",
    r"seal-ray advise .* --of": "learning/test_advise.py::test_written_tokens_are_another_budget_than_trained_ones",
    r"seal-ray advise ": "learning/test_advise.py::"
    "test_the_cheapest_is_taken_of_those_that_are_not_told_apart_from_the_best",
    r"seal-ray again ": "rundir/test_frozen.py::"
    "test_a_second_run_of_a_manifest_is_the_first_to_the_last_bit_and_says_so",
    r"seal-ray tune ": "tuning/test_tune.py::test_the_command_prints_a_table_and_writes_an_overlay",
    r"python -m benchmarks trials": "benchmarks/test_trials.py::",
    r"ray (get-auth-token|start)|export RAY_AUTH_MODE": "cluster/test_jobs.py::"
    "test_a_job_that_is_stopped_and_submitted_again_and_loses_its_driver_continues_to_a_whole_journal",
    r"ray job submit .*jobs/microworld.toml": "cluster/test_jobs.py::"
    "test_the_tutorials_job_is_run_and_listed_as_it_is_shown_there",
    r"seal-ray watch s3:|seal-ray report s3:": "looking/test_watch.py::"
    "test_a_run_that_writes_to_object_storage_is_followed_to_its_end",
}
"""By what the command begins with, the test that runs it, its like in miniature, or what it calls; a file's name with
nothing after it stands for several of its tests."""

NOT_RUN = {
    r"make ": "makes the environment that the tests themselves run in",
    r"pip install": "the tests' environment has what it installs, or cannot have it",
    r"(ray (up|down|exec|dashboard)|export PYTHONPATH)": "needs a cloud's account, or hosts; tests/cluster/ "
    "reads the files as Ray does (test_files.py), and has Ray's autoscaler bring and take nodes here (test_scaling.py)",
    r"(aws|gcloud|sed -i .*gcp.yaml)\b": "needs an account with a cloud",
    r"(kubectl|helm|docker|export RAY_AUTH_TOKEN)\b": "needs Kubernetes, or a registry; "
    "tests/cluster/test_files.py holds the files to KubeRay's fields",
    r"ray job (list|logs)": "Ray's own, of a job that is there",
    r"ray stop": "ends every Ray on the machine, the tests' own too",
}
"""By what the command begins with, why no test runs it."""

ALL = sorted({command for page in PAGES for command in commands(page)})
IN_THE_TUTORIAL = {step.command for step in HERE}


@pytest.mark.parametrize("command", ALL)
def test_a_command_of_the_documentation_is_run_by_a_test_or_it_is_said_why_not(command: str) -> None:
    listed = any(re.match(pattern, command) for pattern in (*RUN_BY, *NOT_RUN))
    assert listed or command in IN_THE_TUTORIAL, "run it in a test and name that in RUN_BY, or say why not in NOT_RUN"


@pytest.mark.parametrize("pattern", [*RUN_BY, *NOT_RUN])
def test_what_is_listed_is_shown_somewhere_and_its_test_exists(pattern: str) -> None:
    assert any(re.match(pattern, command) for command in ALL)
    file, _, name = RUN_BY.get(pattern, "test_docs.py::").partition("::")
    assert (ROOT / "tests" / file).is_file()
    assert f"def {name}(" in (ROOT / "tests" / file).read_text() or not name


@pytest.mark.parametrize("command", [each for each in ALL if each.startswith("seal-ray ")])
def test_a_command_of_the_documentation_can_be_given(command: str) -> None:
    """Its name, options and values are those of the command line; settings are looked at by `seal_ray.config`."""
    _, bound, _ = app.parse_args(shlex.split(command.removesuffix("&"))[1:], print_error=False, exit_on_error=False)
    assert bound is not None


def test_every_command_of_the_tutorial_is_in_its_blocks_for_the_terminal() -> None:
    page = ROOT / "docs/tutorial.md"
    assert [step.command for step in steps(page)] == list(commands(page))
