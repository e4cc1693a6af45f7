"""An S3 of the tests' own, and journals that are flushed by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from seal_ray.record.journal import Journal


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer does nothing: on a busy machine it would flush between two lines of a test."""
    monkeypatch.setattr(Journal, "_flush_behind", lambda self: None)


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(_s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; what starts from here finds it too."""
    for name, value in {
        "AWS_ENDPOINT_URL": _s3,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = uuid.uuid4().hex
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}/runs/one"
