"""trackio: its database on this machine, in `TRACKIO_DIR`; `trackio show` shows it, `trackio sync` publishes it.

Rows are written to the database at once, each under a name of its own: trackio's own logging passes them to a thread
that may be killed, measures the machine, and writes to the standard output.
"""

from __future__ import annotations

from collections.abc import Sequence

from trackio.sqlite_storage import SQLiteStorage

from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import PROJECT, TrackedRun

_OF_TRACKIO = ("step", "timestamp")


class Trackio:
    """A run of trackio's in the project `seal-ray`."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._config: dict[str, str] | None = dict(run.parameters)

    def held(self) -> set[tuple[str, int]]:
        rows = SQLiteStorage.get_logs(PROJECT, self._run.name, run_id=self._run.id)
        return {(name, row["step"]) for row in rows for name in row if name not in _OF_TRACKIO}

    def tell(self, figures: Sequence[Figure]) -> None:
        SQLiteStorage.bulk_log(
            PROJECT,
            self._run.name,
            [{each.name: each.value} for each in figures],
            steps=[each.step for each in figures],
            config=self._config,
            log_ids=[f"{self._run.id}/{each.name}/{each.step}" for each in figures],
            run_id=self._run.id,
        )
        self._config = None

    def close(self, ended: bool) -> None:
        """Everything is in the database."""
