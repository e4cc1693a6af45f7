"""The file of verdicts, shared, cut short, damaged, and on a disk without room."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from seal_ray.grading.cache import VerdictCache
from seal_ray.types import UserError
from tests.disks import mounted


def written(path: Path) -> dict[str, bool]:
    found = VerdictCache(path)
    return {key: bool(found.get(key)) for key in "abcdef" if found.get(key) is not None}


def test_a_line_cut_short_by_a_kill_costs_only_itself_whoever_writes_next(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    beside = VerdictCache(path)
    VerdictCache(path).put("a", True)
    path.write_bytes(path.read_bytes() + b'{"key": "b", "ver')
    beside.put("c", False)
    assert written(path) == {"a": True, "c": False}


def test_two_runs_share_the_file_and_each_others_verdicts_while_both_go_on(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    one, other = VerdictCache(path), VerdictCache(path)
    for number in range(100):
        one.put(f"one {number}", True)
        other.put(f"other {number}", False)
        assert one.get(f"other {number}") is False
        assert other.get(f"one {number}") is True
    assert len(VerdictCache(path)) == 200


def test_damaged_lines_are_passed_over_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "verdicts.jsonl"
    VerdictCache(path).put("a", True)
    damage = [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"key": "e", "verdict": "yes"}',
        b'{"key": 3, "verdict": true}',
        b"[]",
        b"7",
    ]
    path.write_bytes(path.read_bytes() + b"\n".join(damage) + b"\n")
    VerdictCache(path).put("b", False)
    with caplog.at_level(logging.WARNING):
        assert written(path) == {"a": True, "b": False}
    assert f"({len(damage)} of its lines)" in caplog.messages[-1]


def test_a_file_that_holds_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary\n")
    with pytest.raises(UserError, match=r"notes\.txt: holds no verdicts"):
        VerdictCache(path)
    assert path.read_text() == "Dear diary\n"
    with pytest.raises(UserError, match="cannot be"):
        VerdictCache(tmp_path)
    with pytest.raises(UserError, match="cannot be"):
        VerdictCache(path / "verdicts.jsonl")


def test_a_full_disk_is_said_once_and_costs_no_verdict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mounted(tmp_path / "disk", "4k") as disk:
        path = disk.folder / "verdicts.jsonl"
        cache = VerdictCache(path)
        with caplog.at_level(logging.WARNING):
            for number in range(300):
                cache.put(f"key {number}", True)
        assert len(caplog.messages) == 1
        assert "only in memory" in caplog.messages[0]
        assert all(cache.get(f"key {number}") for number in range(300))
        disk.remount("size=256k")
        cache.put("later", False)
        assert len(VerdictCache(path)) == 301
        whole = [line for line in path.read_text().splitlines() if line]
        assert sum(_whole(line) for line in whole) >= 301


def _whole(line: str) -> bool:
    try:
        return bool(json.loads(line))
    except ValueError:
        return False
