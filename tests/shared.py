"""Reference data that may lie beside the checkout. The suite runs without it; tests that need it say so when skipped."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="reference data is not beside the checkout (../shared)")
