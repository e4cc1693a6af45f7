"""A server that is away is waited for."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from seal_ray.endpoints.patience import EndpointError, Patience
from seal_ray.types import DataError, UserError

GONE = EndpointError("http://here/v1: no answer (ConnectError), in all 4 tries")


class Server:
    """Comes back once it was asked so often."""

    def __init__(self, away_for: int) -> None:
        self.left = away_for

    async def ask(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise GONE
        return "hello"


def test_a_server_that_comes_back_is_as_if_it_had_never_been_away(caplog: pytest.LogCaptureFixture) -> None:
    server, waiting = Server(away_for=7), Patience(1000.0, "sampling.patience", between_tries=0.0)

    async def many() -> list[str]:
        return await asyncio.gather(*(waiting.until_answered(server.ask) for _ in range(5)))

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(many()) == ["hello"] * 5
    away, back = caplog.messages
    assert "http://here/v1: no answer (ConnectError)" in away
    assert "up to 1000 s" in away
    assert "is back" in back


def test_it_is_said_once_a_minute_that_a_server_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    clock = itertools.count(5000.0, 4.0).__next__  # read twice a try: eight seconds each
    waiting = Patience(1e9, "sampling.patience", between_tries=0.0, clock=clock)
    with caplog.at_level(logging.WARNING):
        asyncio.run(waiting.until_answered(Server(away_for=40).ask))
    said = [line for line in caplog.messages if "waiting for it" in line]
    assert [line.split("away for ")[1].split()[0] for line in said] == ["4", "68", "132", "196", "260"]


def test_a_server_that_stays_away_ends_in_one_line_that_says_how_to_go_on() -> None:
    with pytest.raises(UserError, match=r"^[^\n]*no answer[^\n]*sampling\.patience[^\n]*the same command continues$"):
        asyncio.run(Patience(0.0, "sampling.patience").until_answered(Server(away_for=10**6).ask))


def test_what_is_wrong_with_the_request_itself_is_not_waited_out() -> None:
    async def refused() -> str:
        raise DataError("too long")

    with pytest.raises(DataError):
        asyncio.run(Patience(1000.0, "sampling.patience").until_answered(refused))
