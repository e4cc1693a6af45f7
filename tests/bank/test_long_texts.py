"""A text too long for a pass is trained all the same: its layers are worked out twice, and little is kept meanwhile."""

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

from seal_ray.bank import Bank, Job, objectives
from seal_ray.types import LoraSpec, OptimSpec
from tests.bank.small import ALL, SHAPE, make_model, make_texts, make_tokenizer
from tests.bank.test_neighbours import assert_same, make_job


def worked_out(bank):
    """Tokens of every pass through the first layer's attention, the second time through included."""
    seen, projection = [], bank.patched.model.model.layers[0].self_attn.q_proj
    projection.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    return seen


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3"])
def test_the_outcome_is_that_of_a_pass_it_fits_in(family):
    texts = (*make_texts(3, seed=1), *make_texts(1, seed=1, low=90, high=90))
    job = make_job("long", texts=texts, prompts=(), statements=(), optim=OptimSpec(1e-2, 3, 1))
    roomy, tight = (Bank(make_model(family), make_tokenizer(), slots=2, max_tokens_per_microbatch=n) for n in (512, 40))
    once, twice = worked_out(roomy), worked_out(tight)
    (whole,), (split,) = roomy.run([job]), tight.run([job])
    assert_same(split, whole)
    assert once.count(90) == 3
    assert twice.count(90) == 6
    assert [n for n in twice if n < 90] == [n for n in once if n < 90]


def test_when_memory_runs_out_on_a_text_it_is_tried_again_that_way(monkeypatch, caplog):
    job = make_job("long", texts=make_texts(1, seed=1, low=90, high=90), prompts=(), statements=())
    (whole,) = Bank(make_model(), make_tokenizer(), slots=1).run([job])
    bank = Bank(make_model(), make_tokenizer(), slots=1)
    forward = bank.patched.model.forward

    def failing(*args, **kwargs):
        if not bank.patched.context.recompute:
            raise torch.OutOfMemoryError("injected")
        return forward(*args, **kwargs)

    monkeypatch.setattr(bank.patched.model, "forward", failing)
    (split,) = bank.run([job])
    assert "out of memory on 90 tokens" in caplog.text
    assert_same(split, whole)


class Living(TorchDispatchMode):
    """Counts the bytes of the tensors that were made within it and are still there, each storage once."""

    def __init__(self):
        super().__init__()
        self._made = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out

    @property
    def bytes(self):
        return sum(count for reference, count in self._made.values() if not reference.expired())


def test_a_quarter_of_the_memory_at_most_is_kept(monkeypatch):
    shape = {**SHAPE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "head_dim": 16}
    kept, taught = [], objectives.token_losses_and_grad
    for tokens in (100, 1000):
        torch.manual_seed(0)
        bank = Bank(LlamaForCausalLM(LlamaConfig(**shape)), make_tokenizer(), slots=1, max_tokens_per_microbatch=tokens)
        with Living() as living:
            monkeypatch.setattr(
                objectives,
                "token_losses_and_grad",
                lambda *args, now=living: (kept.append(now.bytes), taught(*args))[1],
            )
            text = make_texts(1, seed=3, low=250, high=250)
            (result,) = bank.run([Job("it", text, LoraSpec(4, 4.0, ALL), OptimSpec(1e-3, 1))])
        assert result.failure is None
    assert kept[0] < kept[1] / 4
