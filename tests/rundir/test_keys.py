"""A row is found again when all that it depends on is the same, and not when any of it is another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from seal_ray.domains.microworld.domain import MicroWorld
from seal_ray.domains.registry import load_domain
from seal_ray.events import Events
from seal_ray.policy.store import Policies
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.rundir.identity import identify
from seal_ray.rundir.keys import Names
from seal_ray.types import (
    AdapterRef,
    Example,
    FinetuneSpec,
    LoraSpec,
    OptimSpec,
    Policy,
    Question,
    Recipe,
    SampleRequest,
    Trial,
)
from tests.policy.test_store import RecordsFinetune
from tests.runs import small_run

REQUEST = SampleRequest(AdapterRef("a"), "write:", seed=5)
TRIAL = Trial("t", AdapterRef("a"), Recipe((Example("a fact"),)), 7, ("who?",))
FINETUNE = FinetuneSpec((Example("notes", "write:"),), LoraSpec(), OptimSpec(), seed=1)
P, Q = Policy("p", 1, AdapterRef("a")), Policy("q", 1, AdapterRef("a"))
TASK = MicroWorld().tasks("train", 1, 1)[0]


def test_a_self_edit_is_named_by_all_that_its_text_depends_on() -> None:
    names = Names("m", "w")
    others = [
        names.self_edit(replace(REQUEST, temperature=0.5), P),
        names.self_edit(replace(REQUEST, top_p=0.5), P),
        names.self_edit(replace(REQUEST, max_tokens=7), P),
        names.self_edit(replace(REQUEST, prompt="write!"), P),
        names.self_edit(replace(REQUEST, stop=("\n",)), P),
        Names("m", "another engine").self_edit(REQUEST, P),
        names.self_edit(REQUEST, Q),
    ]
    assert len({names.self_edit(REQUEST, P), *others}) == len(others) + 1
    elsewhere = replace(REQUEST, base=AdapterRef("b"))
    assert names.self_edit(elsewhere, replace(P, version=2)) == names.self_edit(REQUEST, P)


def test_a_trial_is_named_by_its_policys_content_its_model_and_the_right_answers() -> None:
    names = Names("m", "w")
    corrected = replace(TASK, questions=tuple(Question(q.prompt, "another") for q in TASK.questions))
    others = [
        names.trial(TRIAL, P, [corrected]),
        names.trial(replace(TRIAL, seed=8), P, [TASK]),
        Names("n", "w").trial(TRIAL, P, [TASK]),
        names.trial(TRIAL, Q, [TASK]),
    ]
    assert len({names.trial(TRIAL, P, [TASK]), *others}) == len(others) + 1
    elsewhere = replace(TRIAL, base=AdapterRef("b"))
    assert Names("m", "v").trial(elsewhere, replace(P, version=3), [TASK]) == names.trial(TRIAL, P, [TASK])


def test_a_policy_is_named_by_what_it_was_made_from() -> None:
    names = Names("m")
    first = names.next_policy(1, names.base, FINETUNE, 0)
    others = [
        names.next_policy(1, names.base, replace(FINETUNE, seed=2), 0),
        names.next_policy(1, names.base, FINETUNE, 8),
        Names("n").next_policy(1, Names("n").base, FINETUNE, 0),
        names.next_policy(2, Policy(first, 1), FINETUNE, 0),
    ]
    assert len({first, *others}) == len(others) + 1


def test_the_model_and_engine_of_a_config_are_in_its_names(tmp_path: Path) -> None:
    def names(*more: str) -> Names:
        config = small_run(tmp_path, *more)
        return Names.of(identify(config, load_domain(config)))

    asked = ("--sampling.engine", "endpoint", "--sampling.endpoint", "http://localhost:1/v1", "--run.rounds", "0")
    assert names() == names("--workers.trainers", "2", "--run.seed", "9")
    assert names().model == names(*asked).model
    assert names().writer != names(*asked).writer
    assert names().model != names("--model.dtype", "float32").model


def test_a_run_of_before_a_base_could_be_quantized_keeps_its_names(tmp_path: Path) -> None:
    config = small_run(tmp_path, "--model.dtype", "float32")
    identity = identify(config, load_domain(config))
    model = {name: value for name, value in identity.settings["model"].items() if name != "quantization"}
    before = replace(identity, settings={**identity.settings, "model": model})
    assert Names.of(before) == Names.of(identity)
    quantized = replace(config, model=replace(config.model, quantization="int8"))
    assert Names.of(identify(quantized, load_domain(config))).model != Names.of(identity).model


def test_a_place_in_the_run_is_planned_with_its_trial() -> None:
    names, place = Names(), ("round 1", "self-edits", "t", 0, 0)
    assert names.planned(*place, "one trial") != names.planned(*place, "another")


def test_a_policy_on_record_that_was_taught_something_else_is_trained_again(tmp_path: Path) -> None:
    config, store, cluster = small_run(tmp_path), Store(str(tmp_path)), RecordsFinetune()

    def next_policy(text: str) -> None:
        policies = Policies(config, store, journal := Journal(store), Events(journal), cluster, "write:")  # type: ignore[arg-type]
        asyncio.run(policies.next(policies.base, replace(FINETUNE, examples=(Example(text, "write:"),)), kept=1))

    next_policy("notes")
    first = cluster.finetune
    next_policy("notes")
    assert cluster.finetune is first
    next_policy("other notes")
    assert cluster.finetune.examples[0].completion == "other notes"
