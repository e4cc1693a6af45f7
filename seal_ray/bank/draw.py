"""Drawing tokens: each row's is where its distribution, summed up in the vocabulary's order, passes a uniform number.

So a row's token is a function of its own logits and its own number, whatever company it has. Top-p keeps the smallest
set of likeliest tokens that holds that much probability; it is looked for among the few likeliest before all are
sorted, which for a vocabulary of 49,152 tokens takes ten times as long as the step of a small model.

Letters: R rows, V vocabulary, C candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NUMBERS = 4_194_304
"""In double precision at once: rows are drawn in turn, so that a large vocabulary takes no memory of its own."""
_FIRST, _WIDER = 128, 8
"""How many of the likeliest tokens the nucleus is looked for in, and how many times more where it is larger."""


def inverse_cdf(logits_RV: Tensor, uniform_R1: Tensor, temperature_R1: Tensor, top_p_R1: Tensor) -> Tensor:
    """A token for each row."""
    rows = max(1, _NUMBERS // logits_RV.shape[1])
    parts = zip(*(each.split(rows) for each in (logits_RV, uniform_R1, temperature_R1, top_p_R1)), strict=True)
    return torch.cat([_drawn(*part) for part in parts])


def _drawn(logits_RV: Tensor, uniform_R1: Tensor, temperature_R1: Tensor, top_p_R1: Tensor) -> Tensor:
    probs_RV = (logits_RV.double() / temperature_R1.clamp_min(1e-6)).softmax(-1)
    whole_R = top_p_R1[:, 0] >= 1
    if bool(whole_R.all()):
        return _passed(probs_RV, uniform_R1)
    if not bool(whole_R.any()):
        return _from_nucleus(probs_RV, uniform_R1, top_p_R1)
    tokens_R = torch.empty_like(whole_R, dtype=torch.int64)
    tokens_R[whole_R] = _passed(probs_RV[whole_R], uniform_R1[whole_R])
    tokens_R[~whole_R] = _from_nucleus(probs_RV[~whole_R], uniform_R1[~whole_R], top_p_R1[~whole_R])
    return tokens_R


def _from_nucleus(probs_RV: Tensor, uniform_R1: Tensor, top_p_R1: Tensor, count: int = _FIRST) -> Tensor:
    """Drawn among the `count` likeliest tokens where they hold the nucleus, else among more."""
    if count >= probs_RV.shape[1]:
        return _passed(_nucleus(probs_RV, top_p_R1), uniform_R1)
    _, unordered_RC = probs_RV.topk(count)
    index_RC = unordered_RC.sort(-1).values
    probs_RC = probs_RV.gather(1, index_RC)
    kept_RC = _nucleus(probs_RC, top_p_R1)
    tokens_R = index_RC.gather(1, _passed(kept_RC, uniform_R1)[:, None])[:, 0]
    # Of equally likely tokens the first are kept: all of them must be here.
    least_R = kept_RC.masked_fill(kept_RC == 0, 1.0).amin(-1)
    short_R = probs_RC.amin(-1) >= least_R
    if bool(short_R.any()):
        more = probs_RV[short_R], uniform_R1[short_R], top_p_R1[short_R]
        tokens_R[short_R] = _from_nucleus(*more, count * _WIDER)
    return tokens_R


def _nucleus(probs_RC: Tensor, top_p_R1: Tensor) -> Tensor:
    """Zero, but for the smallest set of likeliest tokens that holds this much."""
    sorted_RC, order_RC = probs_RC.sort(dim=-1, descending=True, stable=True)
    beyond_RC = sorted_RC.cumsum(-1) - sorted_RC >= top_p_R1
    return probs_RC.masked_fill(beyond_RC.gather(1, order_RC.argsort(-1)), 0.0)


def _passed(probs_RC: Tensor, uniform_R1: Tensor) -> Tensor:
    """The column at which the sum passes a uniform number, the whole row being one."""
    total_RC = probs_RC.cumsum(-1)
    found_R = torch.searchsorted(total_RC, uniform_R1 * total_RC[:, -1:], right=True)[:, 0]
    return found_R.clamp_max(probs_RC.shape[1] - 1)
