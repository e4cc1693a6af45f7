"""The bench of places writes the same texts both ways, and counts what is computed for them."""

from __future__ import annotations

from benchmarks.places import Settings, measure


def test_places_that_are_refilled_take_fewer_passes_and_compute_the_tokens_alone() -> None:
    found = measure(Settings(texts=12, places=4, shortest=2, longest=20, pairs=1))
    assert found.refilled.rows == found.batches.rows == found.tokens
    assert found.refilled.passes < found.batches.passes
    assert found.static_rows > 1.3 * found.tokens
    assert f"12 texts of 2 to 20 tokens, {found.tokens} together, in 4 places" in found.line()
