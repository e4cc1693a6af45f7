"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.report import write_report
from tests.chromium import visit
from tests.report.build import control, finished

HOSTILE = "</div><script>window.pwned = 1</script><svg onload='window.pwned = 2'><style>body { display: none }</style>"
BOX = "(({width, height}) => [width, height])(document.getElementById('%s').getBoundingClientRect())"


pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("run"))
    run = finished(url)
    control(f"{url}/control")
    for index in (11, 12):
        run.edit("round 1", "train-000", index, 0, HOSTILE)
        run.trial("round 1", "self-edits", "train-000", index, 0, 0, float(index == 11))
    run.journal.flush()
    return Path(write_report(url)).as_uri()


@pytest.mark.parametrize(("width", "shown", "hidden"), [(1280, "wide", "narrow"), (380, "narrow", "wide")])
def test_the_chart_is_there_and_the_page_is_quiet_and_asks_for_nothing(
    chromium: str, page: str, width: int, shown: str, hidden: str
) -> None:
    seen = visit(
        chromium,
        page,
        BOX % f"curve-{shown}",
        BOX % f"curve-{hidden}",
        BOX % f"timeline-{shown}",
        f"document.querySelectorAll('#curve-{shown} .main-dot').length",
        "document.documentElement.scrollWidth",
        "document.body.innerText.includes('window.pwned = 1') && window.pwned === undefined",
        "document.querySelectorAll('#page script').length",
        width=width,
        dark=width < 600,
    )
    chart, other, timeline, points, page_width, text_is_text, scripts = seen.values
    assert seen.errors == ()
    assert seen.requests == (page,)
    assert chart[0] > 300
    assert chart[1] > 200
    assert other == [0, 0]
    assert timeline[1] > 80
    assert points == 3
    assert page_width == width
    assert text_is_text
    assert scripts == 0


def test_the_page_follows_the_reader_s_light_or_dark(chromium: str, page: str) -> None:
    colour = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    (light,), (dark,) = (visit(chromium, page, colour, dark=dark).values for dark in (False, True))
    assert min(light) > 200
    assert max(dark) < 60


def test_the_browser_would_report_an_error_and_a_request(chromium: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('loud'); undefinedThing()</script><img src='missing.png'>")
    seen = visit(chromium, bad.as_uri())
    assert any("loud" in error for error in seen.errors)
    assert any("undefinedThing" in error or "Uncaught" in error for error in seen.errors)
    assert (tmp_path / "missing.png").as_uri() in seen.requests
