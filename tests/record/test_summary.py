"""What a run came to, shown."""

from __future__ import annotations

import pytest

from seal_ray.plain import UNSEEN
from seal_ray.record.summary import Interval, print_table


def test_a_terminal_obeys_no_name_and_no_reason_in_the_table_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    half = Interval(0.5, 0.4, 0.6, 4, failed=0.5, reason="\x1b[2Jtoo\nlong")
    print_table({"\x1b]0;title\x07[bold]an arm\u202e": half})
    said = capsys.readouterr().out
    assert "]0;title[bold]an arm: 50.0% of its trials failed and count as 0, most of them: [2Jtoo long\n" in said
    assert not UNSEEN.search(said)
