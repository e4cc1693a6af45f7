"""MLflow: the server or store that `MLFLOW_TRACKING_URI` names, and its experiment `MLFLOW_EXPERIMENT_NAME`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param

from seal_ray.observe.figures import Figure
from seal_ray.observe.sinks.base import PROJECT, TrackedRun

_TAG = "seal_ray.run"
"""By which a run is found again."""
_PARAMETERS, _LONGEST = 100, 500
"""How many parameters the server takes at once, and how many characters of one every version of it does."""


class MLflow:
    """A run of MLflow's, which is asked for the history of every figure when it is continued."""

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the standard output is the run's
        self._client = MlflowClient()
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT)
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        self._run = found[0] if found else self._client.create_run(experiment, tags={_TAG: run.id}, run_name=run.name)
        self._id = self._run.info.run_id
        if found:
            self._client.update_run(self._id, status="RUNNING")
        known = self._run.data.params
        new = [Param(name, value[:_LONGEST]) for name, value in run.parameters.items() if name not in known]
        for start in range(0, len(new), _PARAMETERS):
            self._client.log_batch(self._id, params=new[start : start + _PARAMETERS])

    def held(self) -> set[tuple[str, int]]:
        names = self._run.data.metrics
        return {(name, each.step) for name in names for each in self._client.get_metric_history(self._id, name)}

    def tell(self, figures: Sequence[Figure]) -> None:
        now = round(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(each.name, each.value, now, each.step) for each in figures])

    def close(self, ended: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if ended else "KILLED")

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # by another run, a moment ago
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)
