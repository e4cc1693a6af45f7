"""What has the signatures of torch's kernels for rows of unlike lengths, made of plain products, in any precision.

They are stricter than the kernels: they refuse what those would take for something else. The tests of a bank that pads
nothing run on them, and the rehearsal of `make gpu-check`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor) -> Tensor:
    """As `torch.nn.functional.grouped_mm`, with nonsense where a group has no rows, as some devices leave it."""
    assert offs.dtype == torch.int32
    spans = spans_of(torch.cat([offs.new_zeros(1), offs]))
    if mat_b.dim() == 3:
        assert int(offs[-1]) == len(mat_a)
        return torch.cat([mat_a[span] @ matrix for span, matrix in zip(spans, mat_b, strict=True)])
    assert int(offs[-1]) == len(mat_b) == mat_a.shape[1]
    nonsense = mat_a.new_full((len(mat_a), mat_b.shape[1]), float("nan"))
    return torch.stack([mat_a[:, s] @ mat_b[s] if s.stop > s.start else nonsense for s in spans])


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    num_splits: int | None = None,
) -> Tensor:
    """As torch 2.12 and 2.13 have it."""
    assert cu_seq_k is cu_seq_q
    assert cu_seq_q.dtype == torch.int32
    spans = spans_of(cu_seq_q)
    assert spans[-1].stop == len(query)
    assert max_q == max_k == max(span.stop - span.start for span in spans)
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert window_size[1] == 0, "nothing after a token is seen"
    return torch.cat([alone(query[s], key[s], value[s], scale, window_size[0]) for s in spans])


def varlen_attn_of_2_11(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """As torch 2.11 has it, which says nothing of heads that share keys."""
    assert query.shape == key.shape == value.shape
    return varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)


def spans_of(bounds: Tensor) -> list[slice]:
    return [slice(start, end) for start, end in zip(bounds.tolist(), bounds.tolist()[1:], strict=False)]


def alone(q: Tensor, k: Tensor, v: Tensor, scale: float | None, before: int) -> Tensor:
    """One row; `before` tokens are seen beside each token itself, or all with -1."""
    seen = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    seen = seen if before < 0 else seen.triu(-before)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v, seen, scale=scale, enable_gqa=True)[0].transpose(0, 1)
