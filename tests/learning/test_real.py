"""README's second example with the real model: what a page of these docs says is known afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from seal_ray.cli.app import main
from seal_ray.endpoints.openai_client import ChatClient
from seal_ray.record.account import known_here
from seal_ray.serving.answering import Answerer
from seal_ray.serving.engines import opened
from seal_ray.serving.server import Server
from seal_ray.types import Message

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
FACTS = {
    "How long does vLLM take to start?": "half a minute",
    "How many requests does vLLM answer at a time?": "256",
    "How many requests may wait?": "32",
    "How large may the body of a request be?": "1 mib",
    "How long may a body take to arrive?": "30 seconds",
    "What is sent at the end of a stream?": "[done]",
    "Which programs may ask by default?": "programs of this machine",
    "Is the connection encrypted?": "not encrypted",
    "What is logged of what was asked?": "nothing",
    "What do clients give as their API key?": "token",
}
TOKENS = 48
"""No answer is longer than this."""


@pytest.fixture(scope="module")
def learnt(real_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page was learnt, by the command that README names."""
    into = str(tmp_path_factory.mktemp("learnt") / "serving")
    ended(["learn", str(PAGE), "--model", str(real_model), "--into", into, "--quiet"])
    return into


def ended(arguments: list[str]) -> None:
    """A command that ends well."""
    with pytest.raises(SystemExit, match="0"):
        main(arguments)


def known(said: dict[str, str]) -> int:
    """How many of the facts are in what was answered."""
    return sum(fact in said[asked].lower() for asked, fact in FACTS.items())


def test_facts_of_the_page_are_known_and_were_not_before(learnt: str) -> None:
    model = Answerer.of(learnt)
    said, before = ({asked: model.ask(asked, TOKENS, learnt=knows) for asked in FACTS} for knows in (True, False))
    assert known(said) > known(before) == 0, said


@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def test_a_client_of_either_engine_is_told_facts_of_it_too(engine: str, learnt: str) -> None:
    async def told() -> dict[str, str]:
        async with (
            opened(learnt, engine) as model,
            Server(model, "serving", loopback=True).at("127.0.0.1", 0) as url,
            ChatClient(url, "serving") as client,
        ):
            return {asked: (await client.chat((Message("user", asked),), max_tokens=TOKENS)).text for asked in FACTS}

    assert known(said := asyncio.run(told())) > 0, said


def test_the_exported_folder_tells_facts_of_it_in_plain_peft_and_transformers(learnt: str, tmp_path: Path) -> None:
    ended(["export", learnt, "--adapter", str(tmp_path)])
    snippet = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    said = {}
    for asked in FACTS:
        asking = snippet.replace("What is it about?", asked)
        done = subprocess.run([sys.executable, "-c", asking], cwd=tmp_path, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        said[asked] = done.stdout
    assert known(said) > 0, said


def test_it_says_what_it_knows_and_no_figure_where_no_question_is_fit(
    learnt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(["eval", learnt])
    account = known_here(learnt)
    assert len(lines := account.lines()) == (5 if account.questions else 3)
    assert capsys.readouterr().out.splitlines()[: len(lines)] == lines
    assert account.after["right"] >= account.before["right"] - 6
