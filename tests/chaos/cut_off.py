"""A head that is cut off while its run goes on elsewhere: two drivers on one directory in object storage.

The first stands still in the middle of its work, a second takes the run over and ends it, and the first comes to again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.alone import begin, ended, how, one_line
from tests.chaos.survival import Survival, in_time
from tests.chaos.victim import done_twice, handed, lines_noted
from tests.runs import results


def met(folder: Path, expected: dict[str, Any]) -> Survival:
    """`folder` takes the logs; the run is in a bucket of its own."""
    survival, start = Survival(met=["cut off and taken over from"]), time.monotonic()
    other = folder.with_name(f"{folder.name}-other")
    with _bucket() as url:
        more = ("--run.dir", url)
        first = begin(folder, "short lease", 0, more)
        if not in_time(lambda: len(handed(folder)) >= 4, lambda: lines_noted(folder)):
            raise RuntimeError("the first driver stood still")
        os.kill(first, signal.SIGSTOP)
        second = ended(begin(other, "short lease", 0, more), other)
        survival.again, survival.oldest = done_twice(folder, other)
        survival.hold_to_a_second()
        os.kill(first, signal.SIGCONT)
        woken = ended(first, folder)
        survival.wrong += one_line(woken)
        if "taken this run over" not in woken.said:
            survival.wrong.append(f"the first driver, once awake, {how(woken)}")
        if second.code:
            survival.wrong.append(f"the second driver {how(second)}")
        elif results(url) != expected:
            survival.wrong.append("it did not come to the quiet run's journal")
    survival.seconds = time.monotonic() - start
    return survival


@contextmanager
def _bucket() -> Iterator[str]:
    """The URL of a place in a bucket of a server of its own, which processes forked here know how to reach."""
    told, tell = os.pipe()
    if not (pid := os.fork()):
        _serve(tell)
    os.close(tell)
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    before = {name: os.environ.get(name) for name in names}
    try:
        os.environ.update(zip(names, (os.read(told, 100).decode(), "somebody", "something", "us-east-1"), strict=True))
        yield "s3://cut-off/runs/one"
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(tell: int) -> None:
    for standard in (1, 2):  # it tells of every request
        os.dup2(os.open(os.devnull, os.O_WRONLY), standard)
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="cut-off")
    os.write(tell, url.encode())
    signal.pause()
