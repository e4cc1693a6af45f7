"""One Ray for the whole suite where a test only needs workers; tests about clusters start their own."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - its plugin would import it at the very end, where Python 3.11 may fail to parse it
import pytest

# Whether a token file lies in the home directory decides how Ray starts; the clusters here are all alike.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Ray's workers yield to whatever else runs; of two files of tests side by side, one would wait for the other.
os.environ.setdefault("RAY_worker_niceness", "0")
# Nor are workers started that nobody asked for, as in a Ray that a run starts.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Threads of one process that wait for each other on a core they share cost more than a second thread brings.
os.environ.setdefault("OMP_NUM_THREADS", "1")


RAY_FIXTURES = {"_ray", "local_ray", "no_ray", "forking_python", "forked_workers"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Ray or the real model by the fixtures it takes; a module that starts a Ray says so itself."""
    for item in items:
        if RAY_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("ray")
        if "real_model" in getattr(item, "fixturenames", ()):
            item.add_marker("real")
    # The files that take longest for each test begin first: at the end one of two would wait for the other.
    long = {item.path for item in items if item.get_closest_marker("vllm")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _says_that_it_needs_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """`make test-fast` leaves out what is marked, so a test that starts Ray without the mark is an error."""

    def up() -> bool:
        return "ray" in sys.modules and sys.modules["ray"].is_initialized()

    before = up()
    yield
    if not before and up() and not request.node.get_closest_marker("ray"):
        pytest.fail("this test started Ray; mark it with pytest.mark.ray")


@pytest.fixture(scope="module")
def _ray() -> None:
    import ray

    for tries_left in reversed(range(5)):
        if ray.is_initialized():
            return
        try:
            ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
        except Exception as error:  # Ray gives its own processes half a minute, and a busy machine may not
            if "timed out during startup" not in str(error) or not tries_left:
                raise
            ray.shutdown()


@pytest.fixture
def local_ray(_ray: None) -> None:
    """A Ray on this machine, shared with the tests before and after."""


@pytest.fixture(scope="session")
def forking() -> Iterator[tuple[str, int]]:
    """A `py_executable` whose workers are forked from one process, and that process."""
    from tests.forked import forking

    with forking() as found:
        yield found


@pytest.fixture(scope="session")
def forking_python(forking: tuple[str, int]) -> str:
    return forking[0]


@pytest.fixture(scope="module")
def forked_workers(forking_python: str) -> Iterator[None]:
    """Workers start at once, where what Python takes to import things is not what is tested."""
    from tests.forked import forked

    with forked(forking_python):
        yield


@pytest.fixture
def no_ray() -> Iterator[None]:
    """For a test that connects to a cluster of its own: the shared Ray gives way."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The GGUF file of a real model, SmolLM2-135M-Instruct. Whoever takes it is marked `real`."""
    from tests.real import place

    if not place().is_file():
        pytest.skip("the real model is not here: `make real-model` fetches it")
    return place()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Runs of this test start no Ray; what they really did is counted."""
    from tests.in_process import CountingCluster

    monkeypatch.setattr("seal_ray.loop.session.open_cluster", CountingCluster)
    CountingCluster.done.clear()
    return CountingCluster.done


def pytest_configure() -> None:
    """Signals that whoever started the suite has it ignore, as `nohup` does, would be ignored by the runs it tests."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
