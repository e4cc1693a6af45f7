"""The base's own products, whichever way they are worked out."""

from __future__ import annotations

import pytest
import torch

from seal_ray.bank.linear import LARGE, base_product


@pytest.mark.parametrize("rows", [1, 2, 32, 33])
@pytest.mark.parametrize("biased", [True, False])
def test_few_rows_are_multiplied_as_many_are(rows: int, biased: bool) -> None:
    torch.manual_seed(rows)
    x = torch.randn(1, rows, 512, dtype=torch.float64)
    weight = torch.randn(LARGE // 512, 512, dtype=torch.float64)
    bias = torch.randn(LARGE // 512, dtype=torch.float64) if biased else None
    found, wanted = base_product(x, weight, bias), torch.nn.functional.linear(x, weight, bias)
    assert found.shape == wanted.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)
