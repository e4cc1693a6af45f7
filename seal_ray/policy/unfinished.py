"""Updates under way, as they are kept in the run's directory: one that takes hours is not begun again."""

from __future__ import annotations

import logging
import time

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seal_ray.record.segments import checksum
from seal_ray.record.storage import Store
from seal_ray.workers.unfinished import Unfinished

logger = logging.getLogger(__name__)

_FOLDER, _SUFFIX = "updates", ".safetensors"
_EVERY = 300.0
"""Seconds of work that may be lost; shorter updates are never kept."""


class Kept:
    """One update, by the name of the policy that it leads to; or other training that is kept in a folder of its own."""

    def __init__(self, store: Store, name: str, folder: str = _FOLDER) -> None:
        self._store, self._file = store, f"{folder}/{name}{_SUFFIX}"
        self._since = time.monotonic()
        self.is_there = False
        """Whether a file of it was met or made."""

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._since >= _EVERY

    def found(self) -> Unfinished | None:
        """What was kept, if it is whole; what is not is done again."""
        try:
            sum_, _, data = self._store.read(self._file).partition(b"\n")
        except FileNotFoundError:
            return None
        self.is_there = True
        try:
            if checksum(data).encode() != sum_:
                raise ValueError("its checksum differs")
            numbers = load(data)
            return Unfinished(tuple(numbers.pop("losses").tolist()), tuple(numbers[name] for name in sorted(numbers)))
        except (SafetensorError, ValueError, KeyError) as error:
            logger.warning("%s: %s; what was trained begins again", self._store.path(self._file), error)
            return None

    def keep(self, update: Unfinished) -> None:
        numbers = {f"number {place}": each for place, each in enumerate(update.numbers)}
        data = save({"losses": np.array(update.losses, np.float64), **numbers})
        self._store.write(self._file, checksum(data).encode() + b"\n" + data)
        self.is_there, self._since = True, time.monotonic()

    def forget(self) -> None:
        """Once what it led to is on record."""
        self._store.delete(self._file)


def losses_under_way(store: Store) -> tuple[float, ...]:
    """The losses of an update under way, as far as they were kept; none where nothing was."""
    for file in sorted(store.walk(_FOLDER)):
        if found := Kept(store, file.removeprefix(f"{_FOLDER}/").removesuffix(_SUFFIX)).found():
            return found.losses
    return ()
