"""A run on Ray says what it does among Ray's metrics, and the dashboard that ships asks for no other."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
import ray

from seal_ray.loop.run import run
from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.types import Failure, Outcome
from seal_ray.workers import metrics
from tests.cluster.autoscaling import ROOT, reached
from tests.runs import small_run

SAMPLE = re.compile(r'^ray_seal_ray_(\w+)\{(?:.*,)?run="metered-1"(?:,.*)?\} (\S+)$', re.M)
EXPORTED = {f"{name}_total" for name in metrics.COUNTERS} | set(metrics.GAUGES)
EXPORTED |= {f"{name}_{part}" for name in metrics.HISTOGRAMS for part in ("bucket", "sum", "count")}
BOARD = json.loads((ROOT / "cluster/grafana.json").read_text())


def exported() -> dict[str, float]:
    """What the agent of this node gives Prometheus of the run, summed over pools and kinds."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read().decode()
    except OSError:  # it is not up yet
        return {}
    found: dict[str, float] = {}
    for name, value in SAMPLE.findall(text):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def test_the_dashboard_asks_only_for_metrics_that_there_are_and_shows_every_one() -> None:
    queries = json.dumps(BOARD["panels"]) + json.dumps(BOARD["templating"])
    asked = set(re.findall(r"ray_seal_ray_(\w+)", queries))
    assert asked <= EXPORTED
    every = (*metrics.COUNTERS, *metrics.GAUGES, *metrics.HISTOGRAMS)
    assert [name for name in every if f"ray_seal_ray_{name}" not in queries] == []
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_dashboard_groups_by_labels_that_its_metrics_have() -> None:
    (pick,) = (each for each in BOARD["templating"]["list"] if each["type"] == "query")
    assert pick["query"] == "label_values(ray_seal_ray_workers_up, run)"
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            (name,) = re.findall(r"ray_seal_ray_([a-z_]+)", target["expr"])
            (grouped,) = re.findall(r"by \(([^)]*)\)", target["expr"])
            own = metrics._BY.get(name.removesuffix("_total").removesuffix("_bucket"))
            labels = set(grouped.split(", "))
            assert labels <= {"run", own, *(["le"] if name.endswith("_bucket") else [])}, panel["title"]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]
            assert target["expr"].count("(") == target["expr"].count(")")


def test_the_dashboard_is_one_that_grafana_reads_with_no_panel_on_another() -> None:
    assert BOARD["schemaVersion"] >= 36  # before it, datasources were names
    assert BOARD["uid"]
    assert BOARD["title"]
    sources = [each["name"] for each in BOARD["templating"]["list"] if each["type"] == "datasource"]
    taken: set[tuple[int, int]] = set()
    for asks in (*BOARD["panels"], *(each for each in BOARD["templating"]["list"] if each["type"] == "query")):
        assert asks["datasource"]["type"] == "prometheus"
        assert asks["datasource"]["uid"] in [f"${{{name}}}" for name in sources]
    for panel in BOARD["panels"]:
        x, y, width, height = (panel["gridPos"][key] for key in "xywh")
        assert 0 <= x <= x + width <= 24, "Grafana's grid has 24 columns"
        area = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        assert area
        assert not area & taken, panel["title"]
        taken |= area
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.usefixtures("local_ray", "forked_workers")
def test_after_a_run_the_metrics_of_its_node_are_what_its_journal_says(tmp_path: Path) -> None:
    few = ("--run.name", "metered", "--run.rounds", "0", "--domain.test", "2", "--sampling.max_tokens", "30")
    run(small_run(tmp_path / "run", *few, "--workers.trainers", "1", "--evaluation.baselines", '["passage only"]'))
    journal = Journal(Store(str(tmp_path / "run")))
    outcomes = [row for row in journal.rows("outcomes") if row["tokens"]]
    known = {
        "trials_total": len(outcomes),
        "tokens_trained_total": sum(row["tokens"] for row in outcomes),
        "tokens_sampled_total": sum(row["tokens"] for row in journal.rows("self_edits")),
        "workers_up": 0,
        "calls_waiting": 0,
    }
    assert reached(lambda: known.items() <= exported().items(), 120), (known, exported())
    mine = metrics.RunMetrics("metered-1")  # what a run this small has none of
    mine.holds(70)
    mine.tried(Outcome("failed", failure=Failure("data", "no text")))
    mine.tell()
    known = {"adapter_bytes": 70, "failures_total": 1, "trials_total": len(outcomes) + 1}
    assert reached(lambda: known.items() <= exported().items(), 120), (known, exported())
    assert exported().keys() == EXPORTED
