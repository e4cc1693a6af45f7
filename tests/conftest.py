"""One Ray for the whole suite where a test only needs workers; tests about clusters start their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Whether a token file lies in the home directory decides how Ray starts; the clusters here are all alike.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@pytest.fixture(scope="session")
def _ray() -> Iterator[None]:
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def local_ray(_ray: None) -> None:
    """A Ray on this machine, shared with the tests before and after."""
