"""The page of every domain that ships, in a browser: large and small, light and dark, for the keyboard, and fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.domains.registry import DOMAINS
from seal_ray.report import write_report
from seal_ray.report.data import read_run
from tests.axe import SERIOUS
from tests.chromium import visit
from tests.report.build import FakeRun, finished
from tests.report.domains import WAYS, of_domain

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OPEN = "document.querySelectorAll('details').forEach(it => { it.open = true; })"
ACROSS = "document.documentElement.scrollWidth"
PAST_THE_EDGE = """[...document.querySelectorAll('#page *')]
    .filter(it => !it.closest('.scroll, svg') && it.getBoundingClientRect().right > innerWidth + 1)
    .map(it => it.outerHTML.slice(0, 100))"""
PWNED = "[window.pwned === undefined, document.body.textContent.includes('window.pwned = 1')]"


@pytest.fixture(scope="module", params=sorted(DOMAINS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A domain's name, and where a run of it lives."""
    return request.param, of_domain(request.param, tmp_path_factory.mktemp(request.param))


def test_the_page_of_every_domain_is_quiet_whole_and_painted_within_a_second(
    chromium: str, run: tuple[str, str]
) -> None:
    name, url = run
    page = Path(write_report(url)).as_uri()
    found = read_run(url)
    assert found.pairs.open[0].best.asked[0].question
    assert found.missing == ()
    assert sorted(turn.way for turn in found.turns) == (sorted(WAYS) if name == "microworld" else [])
    for width, dark in ((390, True), (390, False), (1280, True), (1280, False)):
        seen = visit(chromium, page, OPEN, ACROSS, PAST_THE_EDGE, PWNED, width=width, dark=dark)
        assert (seen.errors, seen.requests) == ((), (page,))
        assert seen.values[1:] == (width, [], [True, True])
        assert seen.seconds < 1


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_nothing_on_the_page_of_any_domain_keeps_people_from_using_it(
    chromium: str, axe: str, run: tuple[str, str], width: int, dark: bool
) -> None:
    page = Path(write_report(run[1])).as_uri()
    seen = visit(chromium, page, OPEN, f"(() => {{ {axe} }})(), {SERIOUS}", width=width, dark=dark)
    assert seen.values[1] == []


def test_a_table_is_sorted_and_searched_by_keyboard_and_reads_without_the_script(chromium: str, tmp_path: Path) -> None:
    finished(str(tmp_path))
    page = Path(write_report(str(tmp_path)))
    table = "document.querySelector('table[data-find]')"
    first = f"[...{table}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].textContent)"
    press = """(() => {
        const button = %s.querySelector('th button');
        button.focus();
        button.click();
        return [document.activeElement === button, button.closest('th').getAttribute('aria-sort')];
    })()"""
    search = """(() => {
        const input = document.querySelector('.find input');
        input.value = 'TEST-01';
        input.dispatchEvent(new Event('input'));
    })()"""
    seen = visit(chromium, page.as_uri(), OPEN, press % table, first, press % table, first, search, first)
    _, down, fell, up, rose, _, found = seen.values
    assert (down, up) == ([True, "descending"], [True, "ascending"])
    assert fell == sorted(fell, reverse=True)
    assert rose == sorted(rose)
    assert found == ["test-010", "test-011"]
    bare = tmp_path / "bare.html"
    text = page.read_text()
    bare.write_text(text[: text.index("<script>")] + text[text.index("</script>") + 9 :])
    words = "document.getElementById('page').textContent.replace(/\\s+/g, ' ')"
    with_script, without = (visit(chromium, each.as_uri(), words).values[0] for each in (page, bare))
    assert "Copy" not in without
    assert with_script.replace("Copy", "").replace("Find a task ", "").split() == without.split()


def of_trials(folder: Path, tasks: int) -> Path:
    """A page of fifteen trials a task, and two that measure it."""
    run = FakeRun(str(folder), train=tasks, test=tasks, rounds=1)
    run.write_config()
    run.evaluate("untrained self-edits", 0.4)
    run.explore(1, 0.5)
    run.update(1)
    run.evaluate("after round 1", 0.6, 1)
    run.journal.flush()
    assert len(run.journal.table("outcomes")) == 17 * tasks
    return Path(write_report(str(folder)))


def test_a_run_of_ten_thousand_trials_opens_in_two_seconds_and_a_smaller_one_is_small(
    chromium: str, tmp_path: Path
) -> None:
    small, large = of_trials(tmp_path / "small", 45), of_trials(tmp_path / "large", 590)
    assert small.stat().st_size < 5_000_000
    assert large.stat().st_size < 5_000_000
    assert visit(chromium, large.as_uri(), "1").seconds < 2
