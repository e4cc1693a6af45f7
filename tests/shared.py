"""Reference data that may lie beside the checkout. Tests that need it are skipped without it, and say so."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="reference data is not beside the checkout (../shared)")
