"""Each objective is its published formula, by autograd, whatever is trained beside it and to what."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from benchmarks.op_counts import counted_passes
from seal_ray.bank import Bank, Job, TokenText
from seal_ray.bank.loss import distilled_losses_and_grad
from seal_ray.bank.objectives import DPO, Distilled, PolicyGradient, SoftTargets
from seal_ray.bank.replica import Replica
from seal_ray.bank.rows import Distributions
from seal_ray.types import DataError, Failure, LoraSpec, OptimSpec
from tests.bank.small import (
    ALL,
    WORDS,
    make_model,
    make_texts,
    make_tokenizer,
    mean_loss,
    padded,
    peft_tensors,
    train_alone,
)

KEPT = 4
BETA, CLIP = 0.3, 0.1


def softened(text, seed):
    """A text with a distribution over a few tokens at each place, whose probabilities need not add up to one."""
    draw = np.random.default_rng(seed)
    tokens = np.stack([draw.permutation(WORDS)[:KEPT] for _ in text.ids])
    probs = draw.dirichlet(np.ones(KEPT), len(text.ids)) * draw.uniform(0.5, 1, (len(text.ids), 1))
    return replace(text, targets=Distributions(tokens, probs))


def job(key, **changes):
    texts = make_texts(8, seed=4, prompts=True)
    made = Job(key, texts, LoraSpec(4, 8.0, ALL), OptimSpec(1e-2, 4, 2), seed=7, keep_adapter=True)
    return replace(made, **changes)


def with_teachers(texts):
    """Texts whose teacher reads a passage and then what is learnt of them."""
    draw = np.random.default_rng(5)
    return tuple(replace(text, teacher=tuple(draw.integers(5, WORDS, 6 + n).tolist())) for n, text in enumerate(texts))


TAUGHT = with_teachers(make_texts(8, seed=4, prompts=True))
WEIGHTS = (1.5, 0.2, 0.7, 2.0, 0.4, 1.1, 0.9, 1.2)
ADVANTAGES = (0.5, -0.3, 0.2, -0.6, 0.4, 0.1, -0.2, -0.1)


def weighed(weights):
    texts = make_texts(8, seed=4, prompts=True)
    return tuple(replace(text, weight=weight) for text, weight in zip(texts, weights, strict=True))


SOFT = tuple(softened(text, number) for number, text in enumerate(make_texts(8, seed=4)))
JOBS = {
    "tokens": job("tokens"),
    "anchored": job("anchored", anchor_examples=make_texts(3, seed=9), kl_coef=2.0),
    "weighted": job("weighted", texts=weighed(WEIGHTS)),
    "rewarded": job("rewarded", texts=weighed(ADVANTAGES), objective=PolicyGradient(CLIP)),
    "soft": job("soft", texts=SOFT, objective=SoftTargets()),
    "preferred": job("preferred", objective=DPO(BETA)),
    "distilled": job("distilled", texts=TAUGHT, objective=Distilled(WORDS)),
    "distilled of few": job("distilled of few", texts=TAUGHT, objective=Distilled(KEPT)),
}


def soft_loss(peft, texts):
    """Hinton's: the cross-entropy to the teacher's distributions, `-Σ p log q`."""
    every, terms = peft(**inputs_of(texts)).logits.log_softmax(-1), []
    for row, text in enumerate(texts):
        for place in np.flatnonzero(text.learn[1:]) + 1:
            tokens, probs = (torch.from_numpy(x[place]) for x in (text.targets.tokens_TK, text.targets.probs_TK))
            terms.append(-(probs * every[row, place - 1, tokens]).sum())
    return torch.stack(terms).mean()


def teachers_log_probs(peft, texts):
    """For each learnt token, what the model without the adapter predicts once it has read the passage."""
    with torch.no_grad(), peft.disable_adapter():
        for text in texts:
            first = text.learn.index(True)
            every = peft(torch.tensor([[*text.teacher, *text.ids[first:]]])).logits[0].log_softmax(-1)
            yield from every[len(text.teacher) - 1 : -1]


def students_log_probs(peft, texts):
    inputs = padded(texts)
    learnt = inputs.pop("labels")[:, 1:] >= 0
    return peft(**inputs).logits[:, :-1][learnt].log_softmax(-1)


def distillation_loss(peft, texts):
    """Context distillation, `KL(with the passage in sight ‖ now)`, over the whole vocabulary."""
    before, now = torch.stack(list(teachers_log_probs(peft, texts))), students_log_probs(peft, texts)
    return (before.exp() * (before - now)).sum(1).mean()


def distillation_of_few_loss(peft, texts):
    """The same where all but the teacher's likeliest tokens are one."""
    before, now = torch.stack(list(teachers_log_probs(peft, texts))), students_log_probs(peft, texts)
    kept = before.topk(KEPT, 1).indices
    others = torch.ones_like(before, dtype=torch.bool).scatter(1, kept, False)
    terms = [(x.gather(1, kept), x.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)) for x in (before, now)]
    before, now = (torch.cat(each, 1) for each in terms)
    return (before.exp() * (before - now)).sum(1).mean()


def dpo_loss(peft, texts):
    """Rafailov's, equation 7: `-log σ(β log π(w)/ref(w) - β log π(l)/ref(l))`."""
    now = sequence_log_probs(peft, texts)
    with torch.no_grad(), peft.disable_adapter():
        reference = sequence_log_probs(peft, texts)
    ratios = now - reference
    return -logsigmoid(BETA * ratios[0::2] - BETA * ratios[1::2]).mean()


def token_log_probs(peft, text):
    """Of each learnt token of one text, which is read alone."""
    every = peft(torch.tensor([text.ids])).logits[0].log_softmax(-1)
    return torch.stack([every[place - 1, text.ids[place]] for place in range(1, len(text.ids)) if text.learn[place]])


def weighted_loss(peft, texts):
    """Each text's tokens by its weight, over the number of all tokens."""
    terms = [-text.weight * token_log_probs(peft, text) for text in texts]
    return torch.cat(terms).mean()


def clipped_loss(peft, texts):
    """Schulman's, equation 7: `-min(r A, clip(r, 1 - ε, 1 + ε) A)`, r being held to the model without the adapter."""
    terms = []
    for text in texts:
        with torch.no_grad(), peft.disable_adapter():
            before = token_log_probs(peft, text)
        ratio = (token_log_probs(peft, text) - before).exp()
        terms.append(-torch.minimum(ratio * text.weight, ratio.clamp(1 - CLIP, 1 + CLIP) * text.weight))
    return torch.cat(terms).mean()


def sequence_log_probs(peft, texts):
    every = peft(**inputs_of(texts)).logits.log_softmax(-1)
    return torch.stack(
        [
            sum(every[row, place - 1, text.ids[place]] for place in range(1, len(text.ids)) if text.learn[place])
            for row, text in enumerate(texts)
        ]
    )


def inputs_of(texts):
    return {name: tensor for name, tensor in padded(texts).items() if name != "labels"}


FORMULAS = {
    "tokens": (mean_loss, 1),
    "anchored": (mean_loss, 1),
    "weighted": (weighted_loss, 1),
    "rewarded": (clipped_loss, 1),
    "soft": (soft_loss, 1),
    "preferred": (dpo_loss, 2),
    "distilled": (distillation_loss, 1),
    "distilled of few": (distillation_of_few_loss, 1),
}


def run(jobs, slots=5, **kwargs):
    bank = Bank(make_model(), make_tokenizer(), slots=slots, **kwargs)
    return {result.key: result for result in bank.run(jobs)}


@pytest.fixture(scope="module")
def together():
    return run(JOBS.values())


@pytest.mark.parametrize("key", JOBS)
def test_every_objective_trains_as_its_formula_does_by_autograd_beside_all_the_others(key, together):
    loss_of, size = FORMULAS[key]
    peft, losses = train_alone(make_model(), JOBS[key], loss_of, size)
    np.testing.assert_allclose(together[key].losses, losses, rtol=0, atol=1e-9)
    for name, tensor in peft_tensors(peft).items():
        np.testing.assert_allclose(together[key].adapter.tensors[name], tensor, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_passes_cut_between_examples_change_nothing(together):
    for key, found in run(JOBS.values(), max_tokens_per_microbatch=9).items():
        np.testing.assert_allclose(found.losses, together[key].losses, rtol=0, atol=1e-11)
        for name, tensor in found.adapter.tensors.items():
            np.testing.assert_allclose(tensor, together[key].adapter.tensors[name], rtol=0, atol=1e-11)


def test_slots_with_different_objectives_share_a_pass():
    bank = Bank(make_model(), make_tokenizer(), slots=len(JOBS))
    with counted_passes(bank) as passes:
        results = list(bank.run(JOBS[key] for key in ("tokens", "soft")))
    assert len(passes) == results[0].steps == results[1].steps
    with counted_passes(bank) as passes:
        results = list(bank.run(JOBS.values()))
    # One for those without a reference; and one with the adapters and one without for all others; two teachers read.
    assert len(passes) - 2 == 3 * JOBS["tokens"].optim.epochs * 4 == 3 * max(result.steps for result in results)


def test_preferences_are_learnt_from_where_neither_text_is_preferred(together):
    assert together["preferred"].losses[0] == pytest.approx(np.log(2), abs=1e-12)
    assert together["preferred"].losses[-1] < np.log(2) / 2
    assert together["preferred"].steps == 2 * JOBS["preferred"].optim.epochs


@pytest.mark.parametrize("key", ["weighted", "rewarded"])
def test_the_parts_of_a_batch_of_weighed_texts_add_up_to_the_whole(key):
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    whole, *parts = (Replica(bank, JOBS[key]).advance(part, of) for part, of in ((0, 1), (0, 2), (1, 2)))
    assert sum(loss for loss, _ in parts) == pytest.approx(whole[0], abs=1e-12)
    np.testing.assert_allclose(sum(grad for _, grad in parts), whole[1], rtol=0, atol=1e-12)


def test_no_token_is_worth_more_than_the_clip_allows_however_long_it_is_trained():
    """The update begins at minus the mean advantage of a token."""
    texts = JOBS["rewarded"].texts
    tokens = np.repeat([text.weight for text in texts], [sum(text.learn[1:]) for text in texts])
    (long,) = run([job("long", texts=texts, objective=PolicyGradient(CLIP), optim=OptimSpec(1e-2, 40, 8))]).values()
    assert long.losses[0] == pytest.approx(-tokens.mean(), abs=1e-12)
    assert long.losses[-1] == pytest.approx(-tokens.mean() - CLIP * np.abs(tokens).mean(), abs=1e-12)


def test_half_a_pair_is_refused_and_a_pair_with_a_text_that_teaches_nothing_is_left_out():
    texts = JOBS["preferred"].texts
    odd, bare = job("odd", objective=DPO(), texts=texts[:3]), TokenText.of((5, 6), ())
    found = run([odd, job("bare", objective=DPO(BETA), texts=(*texts, texts[0], bare)), JOBS["preferred"]])
    assert found["odd"].failure == Failure("data", "3 texts are no whole number of examples of 2; give 2 for each")
    assert found["bare"].losses == pytest.approx(found["preferred"].losses, abs=1e-11)
    assert found["bare"].warnings == ("text 9: no token carries loss; left out",)


def test_soft_targets_without_distributions_are_refused():
    (result,) = run([job("bare", objective=SoftTargets())]).values()
    assert result.failure == Failure("data", "text 0 has no distributions; SoftTargets needs one for each token")


def test_a_few_tokens_and_the_rest_as_one_are_short_of_the_whole_by_what_the_rest_weighs():
    draw = torch.Generator().manual_seed(3)
    before, now = (torch.randn(9, 500, generator=draw, dtype=torch.float64) * 3 for _ in range(2))
    probs, kept = before.softmax(1).topk(20, 1)
    few, _ = distilled_losses_and_grad(now.clone(), kept, probs, torch.ones(9, dtype=torch.float64))
    rest = torch.ones_like(before, dtype=torch.bool).scatter(1, kept, False)
    theirs, ours = (x.masked_fill(~rest, -torch.inf).log_softmax(1).where(rest, 0.0) for x in (before, now))
    among = (theirs.exp() * (theirs - ours)).where(rest, 0.0).sum(1)
    whole = (before.softmax(1) * (before.log_softmax(1) - now.log_softmax(1))).sum(1)
    torch.testing.assert_close(few, whole - (1 - probs.sum(1)) * among, rtol=0, atol=1e-12)
    assert (few > 0).all()
    assert (few < whole).all()


@pytest.mark.parametrize("kept", [3, 40])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gradient_of_distillation_is_autograds_also_where_nothing_is_left_over(dtype, kept):
    draw = torch.Generator().manual_seed(4)
    before, now = (torch.randn(7, 40, generator=draw, dtype=torch.float64) * 30 for _ in range(2))
    before, now = before.to(dtype).double(), now.to(dtype)
    probs, tokens = before.softmax(1).topk(kept, 1)
    weights = torch.rand(7, generator=draw, dtype=torch.float64)
    wide = now.double().requires_grad_()
    log_now = wide.log_softmax(1)
    rest = torch.ones_like(wide, dtype=torch.bool).scatter(1, tokens, False)
    left = (1 - probs.sum(1)).clamp_min(0) if kept < 40 else torch.zeros(7, dtype=torch.float64)
    log_left = log_now.masked_fill(~rest, -torch.inf).logsumexp(1) if kept < 40 else torch.zeros(7)
    losses = -(probs * log_now.gather(1, tokens)).sum(1) - left * log_left
    (expected,) = torch.autograd.grad((losses * weights).sum(), wide)
    _, found = distilled_losses_and_grad(now.clone(), tokens, probs.float(), weights.to(now.dtype))
    close = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=close)
    assert found.isfinite().all()


def test_a_teacher_is_what_the_adapter_starts_from():
    bank = Bank(make_model(), make_tokenizer(), slots=2)
    (first,) = bank.run([job("first")])
    bank.load("policy", first.adapter)
    again = job("again", texts=TAUGHT, objective=Distilled(WORDS), base="policy")
    (found,) = bank.run([again])
    peft, _ = train_alone(make_model(), job("first"))
    folded = peft.merge_and_unload()
    _, losses = train_alone(folded, again, distillation_loss)
    np.testing.assert_allclose(found.losses, losses, rtol=0, atol=1e-9)


def test_what_a_teacher_cannot_read_is_refused():
    jobs = {
        "bare": job("bare", objective=Distilled()),
        "foreign": job("foreign", texts=(replace(TAUGHT[0], teacher=(WORDS,)),), objective=Distilled()),
    }
    said = {key: result.failure.reason for key, result in run(jobs.values()).items()}
    assert said["bare"] == "text 0 has nothing that its teacher reads first; Distilled needs that for each text"
    assert said["foreign"] == f"what the teacher of text 0 reads has a token outside the vocabulary of {WORDS}"
    with pytest.raises(DataError, match="keep one at least"):
        Distilled(0)


def test_a_text_is_trained_on_as_far_as_its_teacher_can_read(caplog):
    texts = tuple(replace(text, teacher=(7,) * 250) for text in TAUGHT)
    short = tuple(replace(text, ids=text.ids[:8], learn=text.learn[:8]) for text in texts)
    found = run(
        [job("long", texts=texts, objective=Distilled(KEPT)), job("short", texts=short, objective=Distilled(KEPT))]
    )
    np.testing.assert_allclose(found["long"].losses, found["short"].losses, rtol=0, atol=1e-12)
    assert "its teacher reads 250 before it" in caplog.text
    full = job("full", texts=(*TAUGHT, replace(TAUGHT[0], teacher=(7,) * 256)), objective=Distilled(KEPT))
    (result,) = run([full]).values()
    assert result.warnings == ("text 8: no token carries loss; left out",)


def test_texts_that_name_unlike_numbers_of_tokens_do_not_touch_one_another():
    soft = Distilled(KEPT)
    narrow, wide = (tuple(named(text, count) for text in make_texts(8, seed=4)) for count in (3, 20))
    alone = run([job("narrow", texts=narrow, objective=soft)])["narrow"]
    beside = run([job("narrow", texts=narrow, objective=soft), job("wide", texts=wide, objective=soft)])["narrow"]
    np.testing.assert_allclose(beside.losses, alone.losses, rtol=0, atol=1e-11)


def named(text, count):
    """A text with distributions over so many tokens, token 0 among them."""
    tokens = np.tile(np.arange(count), (len(text.ids), 1))
    return replace(text, targets=Distributions(tokens, np.full(tokens.shape, 0.9 / count)))


def test_a_teacher_reads_less_at_once_where_memory_is_short(monkeypatch):
    from seal_ray.bank import bank as module

    bank, real, budgets = (
        Bank(make_model(), make_tokenizer(), slots=1, max_tokens_per_microbatch=4096),
        module.taught,
        [],
    )

    def short_of_memory(*given):
        budgets.append(given[-1])
        if given[-1] > 1024:
            raise torch.OutOfMemoryError
        return real(*given)

    monkeypatch.setattr(module, "taught", short_of_memory)
    (result,) = bank.run([JOBS["distilled"]])
    assert result.failure is None
    assert budgets == [4096, 2048, 1024]


def test_a_text_that_is_cut_is_taught_as_far_as_it_goes():
    texts = tuple(replace(text, ids=text.ids * 3, learn=text.learn * 3) for text in TAUGHT)
    cut = tuple(replace(text, ids=text.ids[:12], learn=text.learn[:12]) for text in texts)
    long, short = (
        run([job("one", texts=some, objective=Distilled(KEPT))], max_length=12)["one"] for some in (texts, cut)
    )
    assert long.losses == short.losses
    assert any("cut to 12" in warning for warning in long.warnings)


@dataclass(frozen=True)
class Focal:
    """An own objective, by autograd: tokens that are known already count less."""

    texts_per_example: int = 1
    needs_reference: bool = False

    def count(self, labels):
        return sum(labels)

    def loss_and_grad(self, logits_LV, labelled, reference_LV):
        with torch.enable_grad():
            logits_LV = logits_LV.detach().requires_grad_()
            log_probs_L = logits_LV.log_softmax(-1).gather(1, labelled.targets_L[:, None])[:, 0]
            losses_L = -((1 - log_probs_L.exp()) ** 2) * log_probs_L
            (grad_LV,) = torch.autograd.grad((losses_L * labelled.weights_L).sum(), logits_LV)
        return losses_L.detach(), grad_LV


def focal_loss(peft, texts):
    inputs = padded(texts)
    labels = inputs.pop("labels")[:, 1:].flatten()
    every = peft(**inputs).logits[:, :-1].flatten(0, 1)[labels >= 0].log_softmax(-1)
    found = every.gather(1, labels[labels >= 0][:, None])[:, 0]
    return (-((1 - found.exp()) ** 2) * found).mean()


def test_an_own_objective_is_a_class_of_three_members(together):
    own = job("own", objective=Focal())
    found = run([own, JOBS["tokens"]])
    peft, losses = train_alone(make_model(), own, focal_loss)
    np.testing.assert_allclose(found["own"].losses, losses, rtol=0, atol=1e-9)
    for name, tensor in peft_tensors(peft).items():
        np.testing.assert_allclose(found["own"].adapter.tensors[name], tensor, rtol=0, atol=1e-9)
    assert found["tokens"].losses == pytest.approx(together["tokens"].losses, abs=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_trains_to_the_same_losses(dtype, together):
    bank = Bank(make_model(dtype=dtype), make_tokenizer(), slots=5)
    found = {result.key: result for result in bank.run(JOBS.values())}
    bound = 1e-3 if dtype == torch.float32 else 0.3
    for key in ("soft", "preferred"):
        assert found[key].failure is None
        np.testing.assert_allclose(found[key].losses, together[key].losses, rtol=0, atol=bound)
