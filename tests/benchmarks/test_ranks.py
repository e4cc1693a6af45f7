"""The bench of ranks side by side says what they take."""

from __future__ import annotations

import pytest

from benchmarks.ranks import measure
from seal_ray.types import UserError


def test_it_says_the_time_the_operations_and_the_bytes_of_all_ranks_beside_those_of_each() -> None:
    found = measure("qwen2.5-tiny", "", (2, 6), texts=2, pairs=1)
    assert found.held == found.formula == found.largest * (2 + 6) // (6 + 6)
    assert 0.5 < found.operations <= 1.0, "uniform banks of a small model are padded a little"
    assert found.share > 0
    assert "ranks 2, 6:" in found.line()


def test_one_rank_is_nothing_to_compare() -> None:
    with pytest.raises(UserError, match="give --ranks 4 --ranks 128"):
        measure("qwen2.5-tiny", "", (4,), texts=1, pairs=1)
