"""The bench of trials measures every variant, and what it prints, draws and says as JSON is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from benchmarks.chart import draw
from benchmarks.models import SHAPES
from benchmarks.trials import Found, Settings, bench_trials, table
from seal_ray.model.architecture import Shape

pytestmark = pytest.mark.slow

VARIANTS = ["published", "peft", "bank-1", "bank-4"]


@pytest.fixture(scope="module")
def found() -> Found:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPES, "tiny", Shape(2, 32, 64, 2, 2, 16, 256, True))
        return bench_trials(Settings("tiny", device="cpu", slots=(1, 4), pairs=1, texts=8, padded=1))


def test_every_variant_is_measured_and_compared_with_the_two_it_replaces(found: Found) -> None:
    assert [row.name for row in found.rows] == VARIANTS
    rows = {row.name: row for row in found.rows}
    assert rows["published"].vs_published == rows["peft"].vs_peft == 1.0
    assert rows["peft"].vs_published > 1  # forty tokens padded to two thousand
    assert rows["bank-4"].vs_published > rows["peft"].vs_published
    assert all(row.trials_per_s > 0 and row.tokens_per_s > 0 and row.peak_bytes >= 0 for row in found.rows)


def test_the_json_names_each_variants_figures(found: Found) -> None:
    variants = json.loads(json.dumps(found.as_json()))["variants"]
    assert list(variants) == VARIANTS
    wanted = {"trials_per_s", "tokens_per_s", "flops_share", "peak_bytes", "vs_published", "vs_peft"}
    assert all(wanted <= figures.keys() for figures in variants.values())


def test_the_table_and_the_picture_show_every_variant(found: Found) -> None:
    texts = [node.text or "" for node in ElementTree.fromstring(draw(found)).iter("{http://www.w3.org/2000/svg}text")]
    assert all(name in table(found) and name in texts for name in VARIANTS)


def test_the_bench_runs_where_only_torch_transformers_and_peft_are_installed() -> None:
    lacking = "{'ray', 'vllm', 'pydantic', 'pyarrow', 'cyclopts', 'rich', 'jinja2', 'httpx', 'tenacity'}"
    code = f"""
import sys
for name in {lacking}:
    sys.modules[name] = None  # importing it is an error
from benchmarks.models import SHAPES
from benchmarks.trials import main
from seal_ray.model.architecture import Shape
SHAPES["tiny"] = Shape(1, 16, 32, 2, 2, 8, 64, True)
main("--shape tiny --device cpu --slots 2 --pairs 1 --texts 4 --padded 1 --chart /dev/null".split())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bank-2" in done.stdout


def test_an_unknown_shape_is_named_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "benchmarks.trials", "--shape", "qwen9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "'qwen9' is unknown; known: " in done.stderr
    assert "Traceback" not in done.stderr
