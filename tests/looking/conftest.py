"""The S3 that journals are tested on, for runs that are looked at there; and one small run for all who only look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.in_process import run_counted
from tests.record.conftest import _s3, bucket
from tests.runs import small_run

__all__ = ["_s3", "bucket"]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of two rounds, in the test's own process."""
    folder = tmp_path_factory.mktemp("small") / "run"
    run_counted(small_run(folder))
    return folder
