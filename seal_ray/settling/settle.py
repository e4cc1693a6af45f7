"""Settles a config: looks up what it leaves to the model, and says what was found."""

from __future__ import annotations

from dataclasses import dataclass

from seal_ray.config import Config
from seal_ray.model.hub import NotOnThisMachine
from seal_ray.settling.chats import with_chats
from seal_ray.settling.presets import with_preset


@dataclass(frozen=True)
class Settled:
    config: Config
    said: tuple[str, ...] = ()
    """One line for everything that was looked up."""
    open: str = ""
    """Why some of it is not settled, where only the hub could tell and was not to be asked."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is to be told of it."""
        return (*self.said, self.open) if self.open else self.said


def settle(config: Config, ask_hub: bool = True) -> Settled:
    """The config with nothing left to the model. One that is settled stays as it is. `UserError` where it cannot be."""
    said: list[str] = []
    try:
        for step in (with_preset, with_chats):
            config, lines = step(config, ask_hub)
            said += lines
    except NotOnThisMachine as error:
        return Settled(config, tuple(said), f"{error}; what it decides is settled when the run begins")
    return Settled(config, tuple(said))
