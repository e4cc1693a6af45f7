"""The real vLLM on this machine's CPU, with a tiny Llama. One engine serves the whole file."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import samples
from seal_ray.adapters.lora import Adapter
from seal_ray.model.loading import ModelSpec
from seal_ray.types import BASE, AdapterRef, Completion, DataError, SampleRequest, Trial, UserError
from seal_ray.workers.engines import vllm as vllm_module
from seal_ray.workers.engines.canary import CanaryError, Probe, check
from seal_ray.workers.engines.vllm import VllmEngine, engine_options, rank_limit
from seal_ray.workers.pool import WorkerLost
from seal_ray.workers.sampler import EngineSpec, Sampler
from tests.workers.tiny import CONTEXT, Reference, write_adapter, write_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]

LIMIT = 8
PASSAGE = "The heron of Korim Dal eats figs in the town of Velm, and sings at noon. " * 2
PROBE = [ord(letter) % 200 + 5 for letter in PASSAGE[:100]]
TOLERANCE = 1e-3


class Served:
    """The engine with the loop it lives on."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.spec = ModelSpec(str(folder), None, "float32", CONTEXT)
        start = VllmEngine.start(self.spec, max_lora_rank=LIMIT, max_model_len=CONTEXT, policies=2, adapters=3)
        self.engine: VllmEngine = self.runner.run(start)
        self.reference = Reference(folder)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def serve(self, *adapters: Adapter | None) -> AdapterRef:
        """Hold these; the name of the last one."""
        held = [adapter for adapter in adapters if adapter]
        self.run(self.engine.hold(*held))
        return held[-1].ref if held else BASE

    def sample(self, *requests: SampleRequest) -> list[Completion]:
        async def all_at_once() -> list[Completion]:
            return list(await asyncio.gather(*(self.engine.sample(request) for request in requests)))

        return self.run(all_at_once())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(write_model(tmp_path_factory.mktemp("model")))
    yield made
    made.run(made.engine.close())
    made.runner.close()


ONE, OTHER, THIRD = (write_adapter(seed) for seed in (1, 2, 3))


def ask(base: AdapterRef = BASE, seed: int = 1, prompt: str = PASSAGE, **rest: Any) -> SampleRequest:
    return SampleRequest(base, prompt, seed, **{"max_tokens": 40, **rest})


def test_each_loaded_policy_scores_as_peft_says_and_keeps_nothing_of_the_one_before(
    served: Served, tmp_path: Path
) -> None:
    texts: dict[int, Completion] = {}
    served_as: list[tuple[str, int]] = []
    for version, adapter in enumerate([None, ONE, OTHER, ONE, None]):
        base = served.serve(adapter)
        served_as += [(lora.lora_name, lora.lora_int_id) for lora in served.engine._loaded.values()]
        greedy, sampled, again = served.sample(ask(base, temperature=0.0), ask(base), ask(base))
        ids = served.engine._tokenizer(PASSAGE).input_ids
        expected = served.reference.greedy(ids, adapter, tmp_path / str(version), 40)
        assert greedy.text == served.engine._tokenizer.decode(expected, skip_special_tokens=True)
        assert sampled == again
        wanted = served.reference.log_probs(PROBE, adapter, tmp_path / str(version))
        assert served.run(served.engine.log_probs(PROBE, base)) == pytest.approx(wanted, abs=1e-4)
        texts[version] = sampled
    assert texts[0] == texts[4]
    assert texts[1] == texts[3]
    assert len({texts[0].text, texts[1].text, texts[2].text}) == 3
    assert served.run(served.engine._llm.list_loras()) == []
    # The same policy served again, here and in earlier tests, was new to the engine each time.
    names, numbers = zip(*served_as, strict=True)
    assert len(set(names)) == len(set(numbers)) == 3


def test_prompts_share_their_prefix_within_a_policy_and_never_across_two(served: Served) -> None:
    ids = served.engine._tokenizer(PASSAGE).input_ids
    reused = []
    for adapter in (ONE, OTHER, ONE):
        lora = served.engine._loaded[served.serve(adapter)]
        for _ in range(2):
            output = served.run(served.engine._generate(ids, lora, max_tokens=1))
            reused.append(output.num_cached_tokens)
    assert reused == [0, 128, 0, 128, 0, 128]


def test_several_policies_are_served_beside_each_other_as_each_alone(served: Served) -> None:
    one, other = (served.sample(ask(served.serve(adapter)))[0] for adapter in (ONE, OTHER))
    served.serve(ONE, OTHER)
    beside = served.sample(ask(ONE.ref), ask(), ask(OTHER.ref), ask(ONE.ref))
    assert [beside[0], beside[2], beside[3]] == [one, other, one]
    assert len({text.text for text in beside}) == 3


def test_requests_in_flight_end_under_the_policy_they_began_with_while_others_come_and_go(served: Served) -> None:
    served.serve(ONE)
    requests = [ask(ONE.ref, seed, max_tokens=60) for seed in range(6)]
    before = served.sample(*requests)
    under_another = [replace(request, base=OTHER.ref) for request in requests]

    async def change_midway() -> tuple[list[Completion], list[Completion]]:
        flying = [asyncio.create_task(served.engine.sample(request)) for request in requests]
        while served.engine._in_flight[ONE.ref] < 6:
            await asyncio.sleep(0)
        await served.engine.hold(OTHER)
        assert not any(each.done() for each in flying), "none of them was waited for"
        late = [asyncio.create_task(served.engine.sample(request)) for request in under_another]
        return list(await asyncio.gather(*flying)), list(await asyncio.gather(*late))

    during, after = served.run(change_midway())
    assert during == before
    assert after == served.sample(*under_another)
    assert after != before
    assert list(served.engine._loaded) == [OTHER.ref], "what nothing is under any more has been let go of"
    with pytest.raises(RuntimeError, match="is not held here"):
        served.sample(requests[0])


def test_a_text_is_the_same_alone_and_beside_others(served: Served) -> None:
    served.serve()
    requests = [ask(seed=seed, prompt=PASSAGE + "#" * seed) for seed in range(4)]
    alone = [served.sample(request)[0] for request in requests]
    # More prompt tokens than one step holds, so some wait and none may be cut in two.
    crowd = [ask(seed=900 + n, prompt=f"{n} " + PASSAGE[: 40 + 3 * n], temperature=1.5, top_p=0.9) for n in range(50)]
    together = served.sample(*crowd[:25], *requests, *crowd[25:])
    assert together[25:29] == alone
    assert len({completion.text for completion in alone}) == 4


def test_a_schema_is_enforced(served: Served) -> None:
    served.serve()
    schema = {
        "type": "object",
        "properties": {"rotate": {"type": "boolean"}, "epochs": {"enum": [1, 2, 3]}},
        "required": ["rotate", "epochs"],
        "additionalProperties": False,
    }
    # White space is always allowed, so that not every text of a random model ends.
    wild = [ask(seed=seed, prompt="edit", schema=schema, max_tokens=240, temperature=2.0) for seed in range(16)]
    completions = served.sample(*wild)
    ended = [json.loads(completion.text) for completion in completions if completion.finished]
    assert ended
    for edit in ended:
        assert isinstance(edit["rotate"], bool)
        assert edit["epochs"] in (1, 2, 3)
        assert edit.keys() == {"rotate", "epochs"}
    assert all(completion.text.startswith("{") for completion in completions)
    (free,) = served.sample(replace(wild[0], schema=None))
    assert not free.text.startswith("{")


def test_a_text_ends_before_its_stop(served: Served) -> None:
    served.serve()
    (whole,) = served.sample(ask())
    mark = whole.text[10:12]
    (cut,) = served.sample(ask(stop=(mark, "never written")))
    assert cut.text == whole.text[: whole.text.index(mark)]
    assert cut.finished
    assert not whole.finished
    assert whole.tokens == 40


def test_a_prompt_longer_than_the_context_is_a_data_failure(served: Served) -> None:
    served.serve()
    with pytest.raises(DataError, match=f"{CONTEXT + 3} tokens and the engine's context {CONTEXT}"):
        served.sample(ask(prompt="x" * (CONTEXT + 3)))
    (short,) = served.sample(ask(prompt="x" * (CONTEXT - 5)))
    assert (short.tokens, short.finished) == (5, False)


def test_what_vllm_refuses_is_a_data_failure_with_its_reason(served: Served) -> None:
    with pytest.raises(DataError, match=r"vLLM refuses this request: temperature must be in \[0, 2\], got 3"):
        served.sample(ask(temperature=3.0))


def test_trial_questions_are_answered_by_many_adapters_at_once(served: Served, tmp_path: Path) -> None:
    served.serve(ONE)
    adapters = [None, *(write_adapter(seed, rank=2 + seed % 3) for seed in range(10, 16))]
    prompts = ["question : where ? answer :", PASSAGE]

    async def ask_all() -> list[list[Completion]]:
        return await asyncio.gather(*(served.engine.answers(a, prompts, 12) for a in adapters))

    # Seven at once where three fit: an adapter evicted in use would be read again from a folder that is gone.
    tokenizer = served.engine._tokenizer
    for number, (adapter, answers) in enumerate(zip(adapters, served.run(ask_all()), strict=True)):
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = served.reference.greedy(tokenizer(prompt).input_ids, adapter, tmp_path / str(number), 12)
            assert answer.text == tokenizer.decode(ids, skip_special_tokens=True)
    assert len(served.run(served.engine._llm.list_loras())) == 1


def test_a_question_longer_than_the_context_is_refused_with_its_length(served: Served) -> None:
    sampler = Sampler(served.spec, EngineSpec("vllm", LIMIT))
    sampler._engine = served.engine
    asked = Trial("t", BASE, None, 0, ("short", "x" * (CONTEXT + 3)))
    (refused,) = served.run(sampler.answer(write_adapter(1), asked))
    assert refused.refused == f"the prompt has {CONTEXT + 3} tokens and the engine's context {CONTEXT}"
    (answered,) = served.run(sampler.answer(write_adapter(1), replace(asked, questions=("short",))))
    assert (answered.refused, bool(answered.text)) == ("", True)


def test_the_bench_of_samples_times_both_engines_on_the_same_requests(served: Served) -> None:
    samplers = {name: Sampler(served.spec, EngineSpec(name, LIMIT)) for name in ("transformers", "vllm")}
    samplers["vllm"]._engine = served.engine
    served.run(samplers["transformers"].setup())
    said: list[str] = []
    requests = [ask(seed=seed, max_tokens=10) for seed in range(6)]
    found = served.run(samples.sampled(samplers, requests, 2, said.append))
    assert list(found) == ["transformers", "vllm"]
    assert all(row.samples_per_s * row.seconds == pytest.approx(6) for row in found.values())
    assert all(6 < row.tokens_per_s * row.seconds <= 60.01 for row in found.values())
    assert len(said) == 4
    asking = samples.Asking(3.0, 2.0, 40, 0.995)
    shown = samples.table(samples.Found("tiny", "2 threads", 6, found, asking))
    assert "99.50% of 40 greedy answers agree" in shown


def test_one_gpu_is_divided_as_the_workers_ask_and_several_hold_one_model(served: Served) -> None:
    def options(gpus: float, adapters: int = 1, on_cpu: bool = False) -> dict[str, Any]:
        return engine_options(replace(served.spec, gpus=gpus), CONTEXT, LIMIT, adapters, on_cpu)

    shares = [options(gpus)["gpu_memory_utilization"] for gpus in (0.5, 0.25, 1, 2)]
    assert shares == pytest.approx([0.45, 0.225, 0.9, 0.9])
    assert [options(gpus)["tensor_parallel_size"] for gpus in (0, 0.5, 1, 2)] == [1, 1, 1, 2]
    assert [(o["max_loras"], o["max_cpu_loras"]) for o in (options(1), options(1, 16))] == [(1, 2), (16, 17)]
    on_gpu, on_cpu = options(1), options(0, on_cpu=True)
    assert on_gpu["enable_prefix_caching"]
    assert on_cpu["enable_prefix_caching"]
    assert "enforce_eager" not in on_gpu
    # A trainer on the other half keeps to its half.
    assert replace(served.spec, gpus=0.5).memory == pytest.approx(0.45)


def test_an_adapter_above_the_rank_limit_is_refused_in_time(served: Served) -> None:
    with pytest.raises(UserError, match="rank 9 is above this engine's limit of 8"):
        served.serve(write_adapter(1, rank=9))
    assert [rank_limit(rank) for rank in (1, 8, 9, 321)] == [8, 8, 16, 512]
    with pytest.raises(UserError, match="up to rank 512"):
        rank_limit(513)


def test_the_canary_passes_the_policy_it_was_given(served: Served, tmp_path: Path) -> None:
    reading = canary(served, served.serve(ONE), ONE, tmp_path)
    assert reading.difference < 1e-5
    assert reading.effect > 0.1
    assert reading.arrived == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("size", [0.4, 2e-4])
def test_the_canary_catches_a_zeroed_adapter(served: Served, tmp_path: Path, size: float) -> None:
    base = served.serve(write_adapter(1, size=0.0))
    with pytest.raises(CanaryError, match=f"adapter {base.key} is not what vllm serves"):
        canary(served, base, write_adapter(1, size=size), tmp_path)


def test_the_canary_catches_an_adapter_of_the_wrong_rank(served: Served, tmp_path: Path) -> None:
    trained = write_adapter(1, rank=4)
    half = {name: t[:2] if "lora_A" in name else t[:, :2].copy() for name, t in trained.tensors.items()}
    base = served.serve(Adapter(2, trained.scale * 2, trained.targets, half))
    with pytest.raises(CanaryError, match="tolerance"):
        canary(served, base, trained, tmp_path)


def test_the_canary_catches_an_adapter_for_other_modules(served: Served, tmp_path: Path) -> None:
    trained = write_adapter(1, targets=("q_proj",))
    moved = {name.replace("q_proj", "o_proj"): tensor for name, tensor in trained.tensors.items()}
    base = served.serve(Adapter(trained.rank, trained.alpha, ("o_proj",), moved))
    with pytest.raises(CanaryError, match="tolerance"):
        canary(served, base, trained, tmp_path)
    beyond = {name.replace("layers", "blocks"): tensor for name, tensor in trained.tensors.items()}
    base = served.serve(Adapter(trained.rank, trained.alpha, trained.targets, beyond))
    with pytest.raises(CanaryError, match="the adapter does nothing there"):
        canary(served, base, trained, tmp_path)


def test_the_canary_catches_the_policy_before_after_a_step_smaller_than_what_rounding_may_do(
    served: Served, tmp_path: Path
) -> None:
    first = write_adapter(1)
    second = replace(first, alpha=first.alpha * 1.0002)
    reading = canary(served, served.serve(second), second, tmp_path, first)
    assert 0 < reading.step < TOLERANCE
    assert reading.stepped == pytest.approx(1.0, abs=0.3)
    base = served.serve(first)
    with pytest.raises(CanaryError, match="still scores as the policy before does"):
        canary(served, base, second, tmp_path, first)


def canary(served: Served, held: AdapterRef, trained: Adapter, scratch: Path, before: Adapter | None = None) -> Any:
    adapters = {"expected": trained, "before": before, "base": None}
    scores = {name: tuple(served.reference.log_probs(PROBE, each, scratch)) for name, each in adapters.items()}
    return served.run(check(served.engine, held, Probe(tuple(PROBE), **scores), TOLERANCE))


def test_a_model_vllm_does_not_know_is_said_before_anything_starts(served: Served, tmp_path: Path) -> None:
    config = json.loads((served.reference.folder / "config.json").read_text())
    write_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["NobodysModel"], "model_type": "t5"}))
    with pytest.raises(UserError, match="vLLM cannot serve"):
        VllmEngine(ModelSpec(str(tmp_path), None, "float32", CONTEXT), max_lora_rank=8)
    with pytest.raises(UserError, match="vLLM cannot serve"):
        VllmEngine(replace(served.spec, dtype="float64"), max_lora_rank=8)
    with pytest.raises(UserError, match="vLLM cannot serve"):
        VllmEngine(served.spec, max_lora_rank=8, max_model_len=10 * CONTEXT)


def test_a_vllm_that_is_not_installed_is_named_with_what_installs_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"seal-ray\[vllm\]"):
        VllmEngine(served.spec, max_lora_rank=8)


def test_a_killed_engine_process_is_a_lost_worker(served: Served) -> None:
    """The last test of the file: it ends the engine."""
    served.serve()

    async def kill_midway() -> Completion:
        flying = asyncio.create_task(served.engine.sample(ask(max_tokens=100)))
        while not served.engine._llm.output_processor.has_unfinished_requests():
            await asyncio.sleep(0)
        for process in multiprocessing.active_children():
            process.kill()
        return await flying

    with pytest.raises(WorkerLost):
        served.run(kill_midway())
    with pytest.raises(WorkerLost):
        served.sample(ask())
