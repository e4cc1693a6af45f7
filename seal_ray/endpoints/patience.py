"""Waiting for a server that is away: a restart or a broken line is no reason for a run to end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from seal_ray.types import DataError, UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS = 1800.0
"""How long a server may be away, where nothing else is said."""
_BETWEEN_TRIES = 5.0
_BETWEEN_LINES = 60.0


class EndpointError(ConnectionError):
    """The server could not be reached, or gave no usable reply to anything, in all tries. An infrastructure failure."""


class Patience:
    """What all requests to one server share: it is away while it answers none of them."""

    def __init__(
        self,
        seconds: float,
        setting: str,
        between_tries: float = _BETWEEN_TRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`setting` is where a config says how long to wait, for the line in which waiting ends."""
        self._seconds, self._setting, self._between, self._clock = seconds, setting, between_tries, clock
        self._since: float | None = None
        self._told = 0.0

    async def until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The result of `ask`, called again while the server is away; `UserError` when that takes too long."""
        while True:
            began = self._clock()
            try:
                answer = await ask()
            except EndpointError as error:
                self._away(error, began)
                await asyncio.sleep(self._between)
            except (DataError, UserError):
                self._there()
                raise
            else:
                self._there()
                return answer

    def _away(self, error: EndpointError, began: float) -> None:
        now = self._clock()
        self._since = began if self._since is None else self._since
        if now - self._since >= self._seconds:
            raise UserError(
                f"{error}; that was waited for during {now - self._since:.0f} s ({self._setting}); "
                "when the server is back, the same command continues"
            ) from None
        if now - self._told >= _BETWEEN_LINES or self._told < self._since:
            self._told = now
            logger.warning(
                "%s; away for %.0f s now, waiting for it up to %.0f s", error, now - self._since, self._seconds
            )

    def _there(self) -> None:
        if self._since is not None:
            logger.warning("the server is back, after %.0f s", self._clock() - self._since)
            self._since = None
