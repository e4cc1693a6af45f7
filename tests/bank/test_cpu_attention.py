"""Attention written out is the fused kernel's, row by row, forwards and backwards."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from seal_ray.bank import layout as layouts
from seal_ray.bank.attention import AttentionParams, PackedAttention
from seal_ray.bank.layout import LONGEST, pack
from seal_ray.bank.rows import Row

LENGTHS = {
    "short rows in lines of one size": [(0, 3), (0, 9), (0, 14), (1, 20), (2, 1), (2, 7)],
    "rows of every length": [(0, 3), (0, 40), (0, 9), (0, 14), (1, 70), (3, 1), (3, 5), (3, 33)],
    "one row": [(0, 45)],
    "rows of one length": [(0, 12), (0, 12), (1, 12)],
    "a row too long to be written out": [(0, LONGEST + 1), (0, 4), (1, 6)],
}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("least", [0, layouts.LEAST])
def test_packed_attention_is_each_row_alone(lengths, key_heads, window, least, monkeypatch):
    monkeypatch.setattr(layouts, "LEAST", least)
    rows = [Row(slot, np.zeros(length, np.int64), np.zeros(0, np.int64)) for slot, length in LENGTHS[lengths]]
    layout = pack(rows, torch.device("cpu"), torch.float64)
    tokens = sum(len(row.ids) for row in rows)
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(tokens, heads, 8, dtype=torch.float64, generator=draw, requires_grad=True)
        for heads in (4, key_heads, key_heads)
    )
    upstream = torch.randn(tokens, 4, 8, dtype=torch.float64, generator=draw)
    ours = PackedAttention(layout).attend(0, q, k, v, AttentionParams(None, window, None))
    theirs = torch.cat([alone(*parts, window) for parts in zip(*(split(x, rows) for x in (q, k, v)), strict=True)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    found = torch.autograd.grad(ours, (q, k, v), upstream)
    expected = torch.autograd.grad(theirs, (q, k, v), upstream)
    for ours_grad, theirs_grad in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=0, atol=1e-12)


def split(x, rows):
    return x.split([len(row.ids) for row in rows])


def alone(q, k, v, window):
    seen = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    seen = seen if window is None else seen.triu(1 - window)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)[0].transpose(0, 1)
