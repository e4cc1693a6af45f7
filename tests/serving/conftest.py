"""A tiny model that chats and has learnt a document, made on the spot."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from seal_ray.learning.learn import learnt
from seal_ray.observe.progress import Silent
from seal_ray.serving.answering import Answerer
from tests.learning.parts import NOTES, QUESTIONS, settings, written
from tests.model.gguf_files import make_llama, write_gguf
from tests.servers import serving

TEMPLATE = (
    "{% for turn in messages %}{% if turn.role == 'system' and not loop.first %}"
    "{{ raise_exception('a system turn comes first') }}{% endif %}"
    "<{{ turn.role }}> {{ turn.content }}<end>\n{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)


def literate(folder: Path) -> None:
    """A tiny model that writes letters: what one of random weights says is often no text at all."""
    runpy.run_path(str(Path(__file__).parents[2] / "jobs/tiny_model.py"))["make"](str(folder), 64, 1)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = torch.tensor([AutoTokenizer.from_pretrained(folder)(NOTES).input_ids])
    optim = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        model(text, labels=text).loss.backward()
        optim.step()
        optim.zero_grad()
    model.save_pretrained(folder)


def taught(folder: Path, chats: bool) -> Path:
    """A directory called `notes`, in which a tiny model has learnt a document."""
    literate(folder / "tiny")
    if chats:
        config = folder / "tiny" / "tokenizer_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))
    # So tiny a model says text after a cue when it was taught for long, and hears what was said before when not.
    return learnt_on(folder / "tiny", *(("10", "0.01") if chats else ("40", "0.02")))


def learnt_on(model: Path, epochs: str, lr: str) -> Path:
    """A directory called `notes`, beside the model that has learnt a document there."""
    with serving(QUESTIONS) as writer:
        how = [*settings(writer.url), "--update.optim.epochs", epochs, "--update.optim.lr", lr]
        directory, _ = learnt([written(model.parent)], str(model), model.parent / "notes", Silent(), settings=how)
    return Path(directory)


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(tmp_path_factory.mktemp("chats"), chats=True)


@pytest.fixture(scope="session")
def plain_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that does not chat."""
    return taught(tmp_path_factory.mktemp("plain"), chats=False)


@pytest.fixture(scope="session")
def gguf_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that is a single GGUF file."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(file, make_llama(learnt=True))
    return learnt_on(file, "10", "0.01")


@pytest.fixture(scope="session")
def answerer(directory: Path) -> Answerer:
    return Answerer.of(str(directory))
