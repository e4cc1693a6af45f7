from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from seal_ray.record.journal import Journal
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, summarize
from seal_ray.report import data, write_report
from seal_ray.types import UserError
from tests.report.build import FakeRun, control, finished

HOSTILE = (
    "</style><script>window.pwned = 1</script><img src=x onerror='window.pwned=2'>\"&amp; \x00\x1b[31m\u202egnp.exe"
)


class Elements(HTMLParser):
    """Tags and attributes as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def page_of(url: str) -> str:
    return Path(write_report(url)).read_text(encoding="utf-8")


def words_of(page: str) -> str:
    """What a reader sees, on one line."""
    body = page.split("</style>", 1)[1].rsplit("<script>", 1)[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished run with a control beside it."""
    url = str(tmp_path_factory.mktemp("runs") / "whole")
    finished(url)
    control(f"{url}/control")
    return url


def test_the_page_shows_every_arm_with_the_summary_s_numbers(whole: str) -> None:
    words = words_of(page_of(whole))
    for name, measured in summarize(Journal(Store(whole))).items():
        low, high = 100 * measured.low, 100 * measured.high
        assert f"{name} {100 * measured.accuracy:.1f}% {low:.1f} to {high:.1f}%" in words


def test_the_headline_claims_a_rise_only_where_the_interval_supports_it(whole: str, tmp_path: Path) -> None:
    assert "Held-out accuracy rose from" in words_of(page_of(whole))
    run = FakeRun(str(tmp_path), rounds=1)
    run.write_config()
    run.evaluate(UNTRAINED, 0.5)
    run.evaluate("after round 1", 0.5, policy=1)
    run.journal.flush()
    assert "Held-out accuracy did not clearly change" in words_of(page_of(str(tmp_path)))


def test_the_control_is_a_second_dashed_series_and_in_the_table(whole: str, tmp_path: Path) -> None:
    page = page_of(whole)
    assert page.count('class="control-line"') == 3  # wide, narrow, and the n-gram chart's second line
    assert "control, after round 2" in words_of(page)
    finished(str(tmp_path))
    assert page_of(str(tmp_path)).count('class="control-line"') == 1


def test_a_finished_run_has_nothing_missing(whole: str) -> None:
    run = data.read_run(whole)
    assert run.missing == ()
    assert [arm.name for arm in run.policies] == [UNTRAINED, "after round 1", "after round 2"]
    assert run.name == "invented, seed 1"


def test_the_same_journal_gives_the_same_bytes(whole: str) -> None:
    assert page_of(whole) == page_of(whole)


def test_the_path_that_is_returned_is_the_page(whole: str) -> None:
    assert write_report(f"file://{whole}") == f"{whole}/report.html"
    assert data.below("s3://bucket/run/?region=x", "report.html") == "s3://bucket/run/report.html?region=x"


def test_hostile_text_is_shown_and_never_becomes_markup(tmp_path: Path) -> None:
    url, plain = str(tmp_path / HOSTILE.replace("/", "|").replace("\x00", "")), str(tmp_path / "plain")
    for place, text in ((url, HOSTILE), (plain, "quiet")):
        run = FakeRun(place, train=30, rule=text.replace("\x00", ""))
        run.write_config()
        run.evaluate(UNTRAINED, 0.5)
        run.evaluate(f"{text} arm", 0.4)
        run.explore(1, 0.5, dict.fromkeys(range(5), text))
        run.span(text, text, 1.0)
        run.fail("round 1", f"train-{text}", 0, text)
        run.journal.flush()
    hostile, quiet = Elements(page_of(url)), Elements(page_of(plain))
    page = page_of(url)
    assert hostile.tags == quiet.tags
    assert hostile.tags.count("script") == 1
    assert [name for name, _ in hostile.attributes if name.startswith("on")] == []
    assert "</style><script>window.pwned = 1</script>" in unescape(page)
    assert "⟨U+0000⟩⟨U+001B⟩[31m⟨U+202E⟩gnp.exe" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)


def test_the_policy_of_the_page_allows_its_own_style_and_nothing_else(whole: str) -> None:
    page = page_of(whole)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    rules = dict(rule.split(" ", 1) for rule in unescape(policy[1]).split("; "))
    style = page.split("<style>")[1].split("</style>")[0]
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
    script = page.split("<script>")[1].split("</script>")[0]
    assert rules["script-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    assert "connect-src" not in rules
    assert not [
        value
        for name, value in Elements(page).attributes
        if name in ("src", "href") and value != "data:," and not str(value).startswith("#s-")
    ]


def test_an_unfinished_run_says_what_is_missing(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), rounds=2)
    run.write_config()
    run.evaluate(UNTRAINED, 0.5, ended=0.5)
    run.explore(1, 0.5)
    run.trial("round 1", "self-edits", "train-000", 7, 0, 0, None)
    run.journal.flush()
    words = words_of(page_of(str(tmp_path)))
    assert "This run is unfinished" in words
    assert re.search(r"Evaluation “untrained self-edits”: \d+ trials? planned and not yet ended", words)
    assert "Round 1: 1 of 121 planned trials not yet ended." in words
    assert "Round 1 has no update yet." in words
    assert "Round 2 has not begun." in words
    assert "No round has been measured yet." in words


def test_a_run_that_has_only_a_config_still_gets_a_page(tmp_path: Path) -> None:
    FakeRun(str(tmp_path)).write_config()
    words = words_of(page_of(str(tmp_path)))
    for sentence in ("No held-out task has been measured yet.", "No round has been begun.", "Nothing has been written"):
        assert sentence in words


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "config.json is missing or cannot be read"),
        (b'{"config": {"run": {"x": 1}}}', "written by another version"),
    ],
)
def test_a_config_that_cannot_be_read_is_said_so(tmp_path: Path, content: bytes, sentence: str) -> None:
    FakeRun(str(tmp_path)).write_config()
    (tmp_path / "config.json").write_bytes(content)
    assert sentence in words_of(page_of(str(tmp_path)))


def test_a_directory_without_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run is here"):
        write_report(str(tmp_path / "typo"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_of_a_thousand_tasks_with_long_hostile_texts_gives_a_page_below_five_megabytes(tmp_path: Path) -> None:
    run = FakeRun(str(tmp_path), train=1000, per_task=2, seeds=1)
    run.write_config()
    run.explore(1, 0.5, {0: "\"'<&" * 2000, 1: "\x00\U0001f600" * 2000})
    run.journal.flush()
    size = Path(write_report(str(tmp_path))).stat().st_size
    found = data.read_run(str(tmp_path)).pairs
    assert size < 5_000_000
    assert (len(found.open), len(found.folded) > 100, found.unseen > 0) == (20, True, True)
    assert len(found.open) + len(found.folded) + found.unseen + found.level == 1000
