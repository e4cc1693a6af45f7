"""Sampling with the Transformers model: its texts are a matter of the request alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal_ray.adapters.lora import Adapter
from seal_ray.model.loading import ModelSpec
from seal_ray.types import BASE, AdapterRef, Completion, DataError, SampleRequest
from seal_ray.workers.engines.transformers import TransformersEngine, fitting
from tests.workers.tiny import CONTEXT, write_adapter, write_model

PASSAGE = "The heron of Korim Dal eats figs in the town of Velm, and sings at noon."
DIGIT = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}


class Engines:
    """Three engines of one model, on one loop."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        spec = ModelSpec(str(folder), None, "float32", CONTEXT)
        self.three = [self.runner.run(TransformersEngine.start(spec)) for _ in range(3)]

    def serve(self, *adapters: Adapter) -> None:
        for engine in self.three:
            self.runner.run(engine.hold(*adapters))

    def sample(self, requests: Sequence[SampleRequest], *engines: TransformersEngine) -> list[Completion]:
        """Dealt out in turn, all at once."""

        async def all_at_once() -> list[Completion]:
            dealt = (engines[number % len(engines)].sample(request) for number, request in enumerate(requests))
            return list(await asyncio.gather(*dealt))

        return self.runner.run(all_at_once())


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    made = Engines(write_model(tmp_path_factory.mktemp("model")))
    yield made
    made.runner.close()


ONE, OTHER = write_adapter(1), write_adapter(2)


def ask(base: AdapterRef, seed: int, **rest: Any) -> SampleRequest:
    return SampleRequest(base, PASSAGE[: 30 + seed], seed, **{"max_tokens": 24, **rest})


def test_one_engine_and_three_write_the_same_texts(engines: Engines) -> None:
    engines.serve(ONE)
    requests = [ask(ONE.ref, seed) for seed in range(12)]
    by_one = engines.sample(requests, engines.three[0])
    assert engines.sample(requests, *engines.three) == by_one
    assert engines.sample(requests[::-1], *engines.three)[::-1] == by_one
    assert len({completion.text for completion in by_one}) == 12
    engines.serve(OTHER)
    assert engines.sample([replace(request, base=OTHER.ref) for request in requests], *engines.three) != by_one


def test_the_base_is_there_beside_whatever_policy_is_served(engines: Engines) -> None:
    engine = engines.three[0]
    of_base = [ask(BASE, seed) for seed in range(4)]
    engines.runner.run(engine.hold())
    base = engines.sample(of_base, engine)
    engines.serve(ONE)
    of_policy = [ask(ONE.ref, seed) for seed in range(4)]
    policy = engines.sample(of_policy, engine)
    assert not {c.text for c in policy} & {c.text for c in base}
    mixed = [request for pair in zip(of_base, of_policy, strict=True) for request in pair]
    together = engines.sample(mixed, engine)
    assert (together[::2], together[1::2]) == (base, policy)


def test_a_prompt_longer_than_the_context_is_a_data_failure(engines: Engines) -> None:
    with pytest.raises(DataError, match=f"{CONTEXT} tokens and the model's context {CONTEXT}"):
        engines.sample([ask(BASE, 1, max_tokens=5), SampleRequest(BASE, "x" * CONTEXT, 1)], engines.three[0])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Sure: {"n": 3} as asked', '{"n": 3}'),
        ('{"n": 12}', None),
        ('{"n": "3"}', None),
        ('{"m": 3}', None),
        ('{"n": 3', None),
        ("three", None),
        ('{"n": ' + "[" * 100_000, None),
    ],
)
def test_a_text_fits_a_schema_when_its_first_object_does(text: str, found: str | None) -> None:
    assert fitting(text, DIGIT) == found


class Scripted(TransformersEngine):
    """Says what it is told, one after the other."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.seeds = list(texts), list[int]()

    async def _sample(self, request: SampleRequest) -> Completion:
        self.seeds.append(request.seed)
        return Completion(self.texts.pop(0), 7, finished=False)


def test_a_decision_is_drawn_anew_until_it_fits_and_not_for_ever() -> None:
    engine = Scripted("no", '{"n": 10}', '1: {"n": 1}\n2: {"n": 2}', "never")
    assert asyncio.run(engine.sample(ask(1, 5, schema=DIGIT))) == Completion('{"n": 1}', 7, finished=True)
    again = Scripted("no", '{"n": 10}', '{"n": 2}')
    asyncio.run(again.sample(ask(1, 5, schema=DIGIT)))
    assert engine.seeds == again.seeds
    assert len(set(engine.seeds)) == 3
    hopeless = Scripted(*"abcdefgh")
    assert asyncio.run(hopeless.sample(ask(1, 5, schema=DIGIT))).text == "d"
    assert asyncio.run(Scripted("no").sample(ask(1, 5))).text == "no"


def test_who_asks_no_more_keeps_no_other_from_an_answer_and_the_engine_from_ending(engines: Engines) -> None:
    engine = engines.three[0]

    async def one_is_stopped() -> str:
        stopped, other = (asyncio.create_task(engine.sample(ask(BASE, seed))) for seed in (1, 2))
        while engine._waiting or not engine._writing:
            await asyncio.sleep(0)
        stopped.cancel()
        completion = await other
        await engine.close()
        return completion.text

    assert engines.runner.run(one_is_stopped()) == engines.sample([ask(BASE, 2)], engine)[0].text


def longest(engines: Engines) -> SampleRequest:
    """A request that takes many passes."""
    some = [ask(BASE, seed, max_tokens=60) for seed in range(6)]
    return max(some, key=lambda request: engines.sample([request], engines.three[0])[0].tokens)


def test_an_engine_that_is_closed_leaves_what_nobody_waits_for(engines: Engines) -> None:
    engine, passes = engines.three[0], 0
    long = longest(engines)

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    async def left_while_it_is_written() -> None:
        asked = asyncio.create_task(engine.sample(long))
        while not passes:
            await asyncio.sleep(0)
        asked.cancel()
        await engine.close()

    whole = engines.sample([long], engine)
    hook = engine._bank.patched.model.get_input_embeddings().register_forward_pre_hook(count)
    engines.runner.run(left_while_it_is_written())
    hook.remove()
    assert passes < whole[0].tokens / 2
    assert engines.sample([long], engine) == whole, "and goes on writing for whoever asks"


def test_who_asks_later_joins_what_is_being_written_and_is_answered_first(engines: Engines) -> None:
    engine = engines.three[0]
    long = longest(engines)
    short = ask(BASE, 7, max_tokens=2)
    alone = engines.sample([long], engine) + engines.sample([short], engine)
    assert alone[0].tokens > 20

    async def one_after_the_other() -> list[Completion]:
        first = asyncio.create_task(engine.sample(long))
        while engine._waiting or not engine._writing or engine._writing.done():
            await asyncio.sleep(0)
        later = await engine.sample(short)
        assert not first.done()
        return [await first, later]

    assert engines.runner.run(one_after_the_other()) == alone


def test_what_waits_is_sampled_under_the_adapter_it_asked_for_even_where_that_is_held_no_longer(
    engines: Engines,
) -> None:
    engine = engines.three[0]
    engines.serve(ONE)
    expected = engines.sample([ask(ONE.ref, 1)], engine)

    async def dropped_while_it_waits_its_turn() -> Completion:
        async with engine._turn:
            held = asyncio.create_task(engine.hold(OTHER))
            late = asyncio.create_task(engine.sample(ask(ONE.ref, 1)))
            while len(engine._turn._waiters or ()) < 2:  # the one that holds, and the one that samples
                await asyncio.sleep(0)
        await held
        return await late

    assert [engines.runner.run(dropped_while_it_waits_its_turn())] == expected
