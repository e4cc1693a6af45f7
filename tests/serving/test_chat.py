"""Who chats with what was learnt is answered with what was said before in sight, as much of it as the context holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.endpoints.openai_client import Reply
from seal_ray.serving.answering import Answerer
from seal_ray.serving.conversation import Conversation
from seal_ray.types import Chat, Message

FIRST, SECOND = "What does it bring on Mondays?", "And who keeps it?"


def talked(
    lines: Sequence[str], directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    with pytest.raises(SystemExit, match="0"):
        main(["chat", str(directory), "--max-tokens", "12"])
    return capsys.readouterr().out


def test_each_turn_is_answered_with_those_before_it_until_an_empty_line(
    directory: Path, answerer: Answerer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answerer.ask(FIRST, 12)
    both = (Message("user", FIRST), Message("assistant", one), Message("user", SECOND))
    two, alone = answerer.answer(both, 12).text, answerer.ask(SECOND, 12)
    assert two != alone, "what was said before changes the answer"
    said = talked([FIRST, SECOND, "", SECOND], directory, monkeypatch, capsys)
    assert said == f"{one}\n{two}\n{alone}\n"


def test_what_no_context_holds_is_said_and_the_talk_goes_on(
    directory: Path, answerer: Answerer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = talked(["long " * 1000, FIRST], directory, monkeypatch, capsys)
    refused, reply = said.split("\n", 1)
    assert refused.startswith("(the conversation has 50")
    assert reply == f"{answerer.ask(FIRST, 12)}\n"


class Short:
    """Has room for four turns, and says how many it was shown."""

    def answer(self, turns: Chat, max_tokens: int, *, learnt: bool) -> Reply:
        return Reply("" if "silence" in turns[-1].content else f"{turns[0].content}: {len(turns)}", "stop", 0, 0)

    def room(self, turns: Chat) -> int:
        return 10 * (4 - len(turns))


def test_the_oldest_turns_are_forgotten_first_and_what_was_not_answered_at_once() -> None:
    talk = Conversation(Short(), max_tokens=10)
    assert [talk.say(text) for text in ("a", "b", "silence", "c", "d")] == ["a: 1", "a: 3", "", "b: 3", "c: 3"]
