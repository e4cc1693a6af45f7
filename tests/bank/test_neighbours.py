"""What a trial comes to does not depend on what runs beside it, nor on passes that had to be split."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.op_counts import counted_passes
from seal_ray.bank import Bank, Job, TokenText
from seal_ray.bank.layout import TILE, pack
from seal_ray.bank.rows import Row
from seal_ray.types import Failure, LoraSpec, OptimSpec
from tests.bank.small import ALL, WORDS, make_model, make_prompts, make_texts, make_tokenizer


def make_job(key, **changes):
    job = Job(
        key,
        make_texts(5, seed=4),
        LoraSpec(4, 8.0, ALL),
        OptimSpec(1e-2, 4, 2),
        seed=7,
        prompts=make_prompts(3, seed=5),
        max_new_tokens=6,
        statements=make_texts(2, seed=6),
        keep_adapter=True,
    )
    return replace(job, **changes)


def neighbours(count):
    shapes = [(2, ("q_proj",)), (6, ALL), (3, ("down_proj", "v_proj"))]
    return [
        make_job(
            f"neighbour-{n}",
            texts=make_texts(1 + n % 7, seed=n, high=20 + 3 * n),
            lora=LoraSpec(shapes[n % 3][0], 4.0, shapes[n % 3][1]),
            optim=OptimSpec(3e-2, 1 + n % 5, 1 + n % 3),
            seed=n,
        )
        for n in range(count)
    ]


def run_beside(jobs, slots=4, **kwargs):
    bank = Bank(make_model("qwen3"), make_tokenizer(), slots=slots, **kwargs)
    return {result.key: result for result in bank.run(jobs)}


def assert_same(ours, theirs, bound=1e-11):
    assert ours.failure is theirs.failure is None
    assert ours.answers == theirs.answers
    assert ours.answer_texts == theirs.answer_texts
    assert (ours.steps, ours.tokens, len(ours.losses)) == (theirs.steps, theirs.tokens, len(theirs.losses))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=0, atol=bound)
    np.testing.assert_allclose(ours.log_likelihoods, theirs.log_likelihoods, rtol=0, atol=bound)
    assert ours.adapter.tensors.keys() == theirs.adapter.tensors.keys()
    for name, tensor in ours.adapter.tensors.items():
        np.testing.assert_allclose(tensor, theirs.adapter.tensors[name], rtol=0, atol=bound)


@pytest.mark.slow
def test_a_trial_ends_the_same_alone_with_one_or_fifteen_neighbours_first_or_last_in_the_queue():
    job = make_job("it")
    alone = run_beside([job])["it"]
    for queue in ([job, *neighbours(1)], [*neighbours(1), job], [job, *neighbours(15)], [*neighbours(15), job]):
        assert_same(run_beside(queue)["it"], alone)
    assert_same(run_beside([*neighbours(15), job], slots=16)["it"], alone)


def test_a_step_is_split_by_its_token_budget_without_changing_any_outcome():
    jobs = [make_job("it"), *neighbours(5)]
    whole, split = run_beside(jobs), run_beside(jobs, max_tokens_per_microbatch=9)
    for job in jobs:
        assert_same(split[job.key], whole[job.key])


@pytest.mark.parametrize("at", [1, 7, 14])
def test_out_of_memory_in_training_or_asking_is_split_and_retried_with_equal_result(at, monkeypatch, caplog):
    jobs = [make_job("it"), *neighbours(5)]
    whole = run_beside(jobs)
    bank = Bank(make_model("qwen3"), make_tokenizer(), slots=4)
    calls, forward = [], bank.patched.model.forward

    def failing(*args, **kwargs):
        calls.append(kwargs["input_ids"].shape[1])
        if len(calls) in (at, at + 1):
            raise torch.OutOfMemoryError("injected")
        return forward(*args, **kwargs)

    monkeypatch.setattr(bank.patched.model, "forward", failing)
    with caplog.at_level(logging.WARNING):
        split = {result.key: result for result in bank.run(jobs)}
    assert len(calls) > at
    assert "out of memory" in caplog.text
    for job in jobs:
        assert_same(split[job.key], whole[job.key])


def test_out_of_memory_in_the_backward_half_of_a_pass_leaves_no_trace_in_the_gradients(monkeypatch):
    jobs = [make_job("it"), *neighbours(3)]
    whole = run_beside(jobs)
    bank = Bank(make_model("qwen3"), make_tokenizer(), slots=4)
    calls, backward = [], torch.Tensor.backward

    def failing(self, *args, **kwargs):
        calls.append(1)
        backward(self, *args, **kwargs)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(torch.Tensor, "backward", failing)
    split = {result.key: result for result in bank.run(jobs)}
    monkeypatch.undo()
    assert len(calls) > 3
    for job in jobs:
        assert_same(split[job.key], whole[job.key])


def test_a_text_that_fits_no_memory_fails_its_own_trial_alone(monkeypatch):
    jobs = [make_job("it"), make_job("huge", texts=(*make_texts(3, seed=1), *make_texts(1, seed=1, low=90, high=90)))]
    alone = run_beside(jobs[:1])["it"]
    bank = Bank(make_model("qwen3"), make_tokenizer(), slots=4)
    forward = bank.patched.model.forward

    def failing(*args, **kwargs):
        if kwargs["input_ids"].shape[1] >= 90:
            raise torch.OutOfMemoryError("injected")
        return forward(*args, **kwargs)

    monkeypatch.setattr(bank.patched.model, "forward", failing)
    results = {result.key: result for result in bank.run(jobs)}
    assert results["huge"].failure == Failure("infrastructure", "out of memory on a single text of 90 tokens")
    assert_same(results["it"], alone)


BAD = {
    "rank 0": ({"lora": LoraSpec(0, 1.0, ALL)}, "rank 0"),
    "unknown module": ({"lora": LoraSpec(2, 1.0, ("q_proj", "nowhere"))}, '"nowhere"'),
    "no module": ({"lora": LoraSpec(2, 1.0, ())}, "targets no module"),
    "empty recipe": ({"texts": ()}, "no texts"),
    "empty text": ({"texts": (TokenText((), ()),)}, "text 0 has no tokens"),
    "no label": ({"texts": (TokenText((5, 6), (True, False)),)}, "no token of the recipe carries loss"),
    "one token": ({"texts": (TokenText((5,), (True,)),)}, "no token of the recipe carries loss"),
    "token beyond the vocabulary": ({"texts": (TokenText((5, WORDS), (True, True)),)}, "outside the vocabulary"),
    "no epochs": ({"optim": OptimSpec(epochs=0)}, "epochs 0"),
    "endless lr": ({"optim": OptimSpec(lr=float("inf"))}, "lr inf"),
    "diverged": ({"optim": OptimSpec(lr=1e200, epochs=9, clip_norm=0.0)}, "not finite"),
    "empty prompt": ({"prompts": ((5,), ())}, "prompt 1 has no tokens"),
    "endless prompt": ({"prompts": ((5,) * 300,)}, "256 positions"),
    "endless statement": ({"statements": (TokenText.of((5,) * 300, (6,)),)}, "statement 0 of 301 tokens exceeds"),
    "nothing to score": ({"statements": (TokenText.of((), (5, 6)), TokenText.of((5, 6), ()))}, "statement 1 has no"),
    "score of a first token": ({"statements": (TokenText.of((), (5,)),)}, "statement 0 has no token to score"),
}


def test_each_bad_trial_is_a_classified_failure_and_its_neighbours_never_notice():
    good = make_job("it")
    alone = run_beside([good])["it"]
    bad = [make_job(name, **changes) for name, (changes, _) in BAD.items()]
    results = run_beside([*bad[:6], good, *bad[6:]], slots=3)
    assert_same(results["it"], alone)
    for name, (_, reason) in BAD.items():
        failure = results[name].failure
        assert failure is not None, name
        assert failure.kind == "data"
        assert reason in failure.reason
        assert results[name].adapter is None


def test_a_text_over_the_limit_is_cut_with_a_warning_that_says_which(caplog):
    long, short = make_texts(1, seed=1, low=30, high=30)[0], make_texts(1, seed=2)[0]
    job = make_job("it", texts=(short, long))
    with caplog.at_level(logging.WARNING):
        result = run_beside([job], max_length=20)["it"]
    assert result.warnings == ("text 1: 30 tokens cut to 20",)
    assert "it: text 1: 30 tokens cut to 20" in caplog.text
    cut = TokenText(long.ids[:20], long.learn[:20])
    assert_same(result, run_beside([make_job("it", texts=(short, cut))])["it"])


def test_no_text_is_longer_than_the_model_has_positions_whatever_the_limit_is(caplog):
    long = TokenText.of((), tuple(5 + n % 50 for n in range(300)))
    job = make_job("it", texts=(long,), anchor_examples=(long,), kl_coef=1.0, optim=OptimSpec(1e-2, 1, 1))
    result = run_beside([job], max_length=400)["it"]
    where = "300 tokens cut to 256, the model's positions"
    assert result.warnings == (f"text 0: {where}", f"anchor example 0: {where}")
    cut = TokenText(long.ids[:256], long.learn[:256])
    assert_same(result, run_beside([replace(job, texts=(cut,), anchor_examples=(cut,))])["it"])


def test_the_limit_on_training_texts_cuts_no_statement_and_no_text_to_be_scored():
    job = make_job("it", texts=make_texts(1, seed=1), statements=(TokenText.of((5,) * 30, (6, 7)),))
    (tight,), (wide,) = (run_beside([job], max_length=limit).values() for limit in (20, 200))
    assert tight.log_likelihoods == wide.log_likelihoods
    bank = Bank(make_model(), make_tokenizer(), slots=1, max_length=20)
    assert len(bank.log_probs(job.statements)[0]) == 2
    with pytest.raises(ValueError, match="256 positions"):
        bank.log_probs([TokenText.of((), (5,) * 300)])


@pytest.mark.parametrize("seed", range(6))
def test_labels_cover_learnt_tokens_once_and_nothing_else(seed):
    draw = np.random.default_rng(seed)
    rows, expected = [], []
    for slot in range(draw.integers(1, 5)):
        for _ in range(draw.integers(1, 12)):
            ids = draw.integers(0, 1000, draw.integers(1, 3 * TILE))
            labels = np.flatnonzero(draw.random(len(ids) - 1) < 0.5)
            rows.append(Row(int(slot), ids, labels))
            expected += [(slot, ids[label], ids[label + 1], label) for label in labels]
    layout = pack(rows, torch.device("cpu"), torch.float64)
    assert layout.input_ids[0].tolist() == np.concatenate([row.ids for row in rows]).tolist()
    found = zip(
        layout.head_slot.tolist(),
        layout.input_ids[0, layout.head_index].tolist(),
        layout.targets.tolist(),
        layout.position_ids[0, layout.head_index].tolist(),
        strict=True,
    )
    assert list(found) == expected


def test_the_longest_in_the_queue_begins_first_so_that_none_is_left_alone_at_the_end():
    bank = Bank(make_model("qwen3"), make_tokenizer(), slots=2)
    steps = {"a": 2, "b": 3, "c": 9, "d": 2, "e": 2}
    for key, count in steps.items():
        bank.submit(make_job(key, texts=make_texts(1, seed=1), optim=OptimSpec(1e-2, count), prompts=(), statements=()))
    with counted_passes(bank) as passes:
        assert len(list(bank.run([]))) == len(steps)
    assert len(passes) == max(steps.values())
