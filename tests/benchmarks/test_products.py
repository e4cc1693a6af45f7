"""The bench of products says what share of a training step is multiplying."""

from __future__ import annotations

import torch

from benchmarks.models import build
from benchmarks.op_counts import PRODUCTS, count
from benchmarks.products import Noted, Operand, Settings, jobs, measure
from seal_ray.bank import Bank

TINY = Settings(model="", shape="qwen2.5-tiny", dtype="float32", slots=(2,), steps=2, pairs=1)


def test_it_counts_the_operations_of_the_very_products_that_the_steps_are_made_of() -> None:
    (found,) = measure(TINY)
    model, tokenizer = build(TINY.shape, "", TINY.dtype, "cpu", max(TINY.lengths))
    vocabulary = model.get_input_embeddings().weight.shape[0]
    counted = count(Bank(model, tokenizer, slots=2), [jobs(TINY, 2, vocabulary)])
    assert found.flops == counted.flops
    assert found.alone > 0
    assert "2 slots:" in found.line()


def test_a_product_is_noted_with_where_it_is_added_and_how_its_numbers_lie() -> None:
    left, right, into = torch.rand(3, 4), torch.rand(5, 4), torch.rand(3, 5)
    with Noted() as noted:
        into.addmm_(left, right.T)
        into.addmm_(left, right.T)
    ((product, times),) = noted.products.items()
    assert (product.name in PRODUCTS, times, product.flops) == (True, 2, 2 * 3 * 4 * 5)
    assert product.operands[2] == Operand((4, 5), (1, 4), torch.float32)
    drawn = product.operands[2].drawn()
    assert (drawn.shape, drawn.stride(), drawn.dtype) == ((4, 5), (1, 4), torch.float32)
