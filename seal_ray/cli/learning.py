"""The commands for one's own documents: `learn` them, and `ask` what is known then, or `chat` about it."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from seal_ray.cli.options import AsJson, Quiet
from seal_ray.cli.output import lines, say
from seal_ray.plain import visible
from seal_ray.types import DataError, UserError

if TYPE_CHECKING:
    from seal_ray.serving.conversation import Conversation

Given = Annotated[str, Parameter(allow_leading_hyphen=True, help="Documents or folders; then `--section.key value`.")]

Measured = Annotated[
    tuple[str, ...],
    Parameter(
        name="--measured", negative="", help="A run of `methods` of your own to go by; again for one of another seed."
    ),
]


def learn(
    *files: Given,
    model: str = "",
    into: str = "",
    method: str = "",
    texts: int = 0,
    force: bool = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Learn documents: one adapter that knows them. Again, it learns what changed; stopped, it goes on.

    Parameters
    ----------
    model
        A Hugging Face model: hub name, folder or GGUF file; empty: HuggingFaceTB/SmolLM2-135M-Instruct.
    into
        The directory for what is learnt; empty: learnt/NAME, after the first document.
    method
        A method of `seal-ray methods` that makes an adapter out of texts, such as spa; empty: as the directory was
        learnt before, or in a way of its own, which tries notes and keeps those that teach.
    texts
        How many texts the method has written of each passage; 0: as before, or 5.
    force
        If something was learnt there with other settings or on another model, move that aside (it is never deleted).
    """
    from seal_ray.learning.learn import learnt
    from seal_ray.observe.progress import progress, start_log

    start_log(quiet)
    at = next((n for n, each in enumerate(files) if each.startswith("--")), len(files))
    directory, account = learnt(
        files[:at], model, into, progress(quiet), settings=files[at:], say=say, force=force, method=method, texts=texts
    )
    tell(directory, account, as_json)


def advise(
    *files: str,
    budget: int,
    of: Literal["trained", "written"] = "trained",
    model: str = "",
    measured: Measured = (),
    as_json: AsJson = False,
) -> None:
    """Say by which method documents are best learnt with so many tokens, from what was measured, and how near that is.

    Parameters
    ----------
    files
        Documents or folders, as `learn` takes them.
    budget
        Tokens, for all of them.
    of
        What these tokens are: those that are trained on, over all epochs, or those that are written.
    model
        What is to learn them; as `learn` has it.
    """
    from seal_ray.learning.advice import advise as advised

    found = advised(files, budget, of, model, measured)
    lines([json.dumps(found.as_json())] if as_json else map(visible, found.lines()))


def ask(dir: str, question: str, *, without: bool = False, max_tokens: int = 128, as_json: AsJson = False) -> None:
    """Ask a model what it has learnt.

    Parameters
    ----------
    dir
        Where documents were learnt, or a run.
    question
        In words of your own.
    without
        Show what the model says without what it learnt, too.
    max_tokens
        Longest answer.
    """
    _refuse_nothing(dir, max_tokens)
    from seal_ray.serving.answering import Answerer

    model = Answerer.of(dir)
    said = {"learnt": model.ask(question, max_tokens)}
    if without:
        said = {"base": model.ask(question, max_tokens, learnt=False), **said}
    if as_json:
        print(json.dumps(said))
    elif without:
        print("\n".join(visible(f"{who + ':':8} {text}") for who, text in said.items()))
    else:
        print(visible(said["learnt"]))


def chat(dir: str, *, without: bool = False, max_tokens: int = 256) -> None:
    """Talk with a model about what it has learnt. An empty line starts anew, the end of the input (Ctrl-D) ends it.

    Parameters
    ----------
    dir
        Where documents were learnt, or a run.
    without
        Talk with the model as it was before.
    max_tokens
        Longest reply.
    """
    _refuse_nothing(dir, max_tokens)
    from seal_ray.serving.answering import Answerer
    from seal_ray.serving.conversation import Conversation

    with suppress(ImportError):
        import readline  # noqa: F401  a line can be edited and taken up again
    talk = Conversation(Answerer.of(dir), max_tokens, learnt=not without)
    with suppress(EOFError):
        while True:
            if text := input("> " if sys.stdin.isatty() else "").strip():
                print(_reply(talk, text), flush=True)
            else:
                talk.forget()


def _refuse_nothing(directory: str, max_tokens: int) -> None:
    """Refuse to ask where no run is, and answers without a token, before what takes seconds to import."""
    from seal_ray.rundir.tuned import config_of_run

    config_of_run(directory)
    if max_tokens < 1:
        raise UserError(f"--max-tokens {max_tokens}: an answer has one at least")


def _reply(talk: Conversation, text: str) -> str:
    try:
        return visible(talk.say(text)) or "(nothing)"
    except DataError as error:
        return f"({error})"


def tell(directory: str, account: Any, as_json: bool) -> None:
    """What is known now, in five lines, and how to ask."""
    if as_json:
        print(json.dumps({"directory": directory, **asdict(account)}))
        return
    print("\n".join(map(visible, account.lines())))
    say(f'adapter: {directory}/adapter   seal-ray ask {directory} "…"')
