"""An observer of one's own: a line for every policy, and how many trials it took.

seal-ray run jobs/microworld.toml --run.observers '["own_observer:Policies"]'
"""

from __future__ import annotations

from seal_ray.events import Event
from seal_ray.record.rows import OutcomeRow, PolicyRow


class Policies:
    """Named in a config it is made with the run's directory; `run(config, Policies(""))` does without one."""

    def __init__(self, directory: str) -> None:
        self._directory, self._trials = directory, 0

    def on(self, event: Event) -> None:
        match event:
            case OutcomeRow():
                self._trials += 1
            case PolicyRow():
                said = f"policy {event.version}: {event.kept} self-edits kept of {self._trials} trials"
                print(f"{said}, loss {event.first_loss:.3f} to {event.last_loss:.3f}")

    def close(self) -> None:
        print(f"{self._directory}: {self._trials} trials in all")
