"""Workers of one run compute with the same software and the same base, or the run stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal_ray.types import UserError
from seal_ray.workers.alike import Alike, Footing, footing
from tests.workers.tiny import write_model


class Worker:
    """A worker as its handle shows it, on a node of its own."""

    def __init__(self, here: Footing) -> None:
        self.here, self.up = here, False
        self.setup = self.__ray_call__ = self

    async def remote(self, *_: Callable[[Any], Any]) -> Footing:
        self.up = not _
        return self.here


@pytest.fixture
def base(tmp_path: Path) -> str:
    write_model(tmp_path / "base")
    return str(tmp_path / "base")


def test_workers_that_are_alike_are_set_up(base: str) -> None:
    alike, workers = Alike(base), [Worker(footing(base)), Worker(replace(footing(base), node="another"))]
    for worker in workers:
        asyncio.run(alike.set_up(worker))
    assert all(worker.up for worker in workers)


@pytest.mark.parametrize("package", ["torch", "transformers", "seal_ray"])
def test_a_worker_with_another_version_is_refused_with_both_and_never_set_up(base: str, package: str) -> None:
    here = footing(base)
    other = Worker(Footing("another", {**here.versions, package: "0.0.1"}, here.base))
    alike = Alike(base)
    asyncio.run(alike.set_up(Worker(here)))
    with pytest.raises(
        UserError, match=f"{here.node} and another differ: {package} .* and 0.0.1; .* every node the same"
    ):
        asyncio.run(alike.set_up(other))
    assert not other.up


def test_a_worker_whose_base_has_other_weights_at_the_same_path_is_refused(base: str) -> None:
    alike = Alike(base)
    alike.compare(footing(base))
    weights = Path(base) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    with pytest.raises(UserError, match=r"two contents of .*/model\.safetensors"):
        alike.compare(footing(base))


def test_an_engine_that_only_the_samplers_have_is_no_difference(base: str) -> None:
    here, alike = footing(base), Alike(base)
    alike.compare(here)
    alike.compare(replace(here, versions={**here.versions, "vllm": "9"}))
    alike.compare(replace(here, versions={k: v for k, v in here.versions.items() if k != "peft"}))
