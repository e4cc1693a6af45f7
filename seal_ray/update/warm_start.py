"""A warm start: before the first round the policy is taught the form of self-edits by examples from a file.

Each line of the file is one example as JSON: what is to be written, and what it answers.

    {"prompt": "Write notes on: …", "completion": "…"}      the prompt as a text, or as the turns of a chat
    {"task": "passage-17", "completion": "…"}               the prompt of that training task
    {"messages": [{"role": "user", "content": "…"}, …, {"role": "assistant", "content": "…"}]}

`seal-ray export DIR --self-edits FILE` writes the first form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seal_ray.config import Config
from seal_ray.domains.base import Domain
from seal_ray.model.hub import DATASET
from seal_ray.plain import decoded, kept
from seal_ray.sources import must_exist
from seal_ray.types import Example, FinetuneSpec, Message, Prompt, UserError, derive_seed

SETTING = "update.warm_start"
WARM_START = "warm start"
"""What the update is called where rounds have numbers; the version of its policy is 0, which the rounds begin with."""
_FORMS = "give a prompt and a completion, a task and a completion, or messages"
_ROLES = ("system", "user", "assistant")


def warm_start(config: Config, domain: Domain) -> FinetuneSpec | None:
    """What the policy is finetuned on before the first round; None where the config names no file."""
    if not (path := config.update.warm_start):
        return None
    if "://" in path or path.startswith(DATASET):
        raise UserError(f"{SETTING}: {path}: must be a JSONL file on this machine; copy it here")
    must_exist(SETTING, path)
    examples = tuple(_read(Path(path), config, domain))
    if not examples:
        raise UserError(f"{SETTING}: {path} has no examples; {_FORMS} on each line")
    seed = derive_seed(WARM_START, config.run.seed)
    return FinetuneSpec(examples, config.update.lora, config.update.optim, seed)


def _read(path: Path, config: Config, domain: Domain) -> Iterator[Example]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold what else ends lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{SETTING}: {path}: cannot be read: {error}") from None
    prompts: dict[str, Prompt] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            said = decoded(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON: {error}") from None
        if not isinstance(said, dict):
            raise UserError(f"{where}: no JSON object; {_FORMS}")
        if "task" in said and prompts is None:
            prompts = {task.id: domain.prompt(task) for task in domain.tasks("train", None, config.run.seed)}
        yield _example(where, said, prompts or {})


def _example(where: str, said: Mapping[str, Any], prompts: Mapping[str, Prompt]) -> Example:
    """One line as a text to learn; one that says it is not finished teaches no end."""
    if "messages" in said:
        *turns, last = _turns(where, said["messages"])
        if last.role != "assistant" or not turns:
            raise UserError(f"{where}: 'messages' must end with what the assistant writes, after what it is given")
        return Example(_text(where, "messages", last.content), tuple(turns))
    if ("prompt" in said) == ("task" in said):
        raise UserError(f"{where}: {_FORMS}")
    completion = _text(where, "completion", said.get("completion"))
    whole = said.get("finished", True) is not False
    if "prompt" in said:
        given = said["prompt"]
        prompt = _text(where, "prompt", given) if isinstance(given, str) else _turns(where, given, "prompt")
        return Example(completion, prompt, whole=whole)
    if (found := prompts.get(str(said["task"]))) is None:
        raise UserError(f"{where}: no training task is called {said['task']!r}")
    return Example(completion, found, whole=whole)


def _turns(where: str, given: Any, name: str = "messages") -> tuple[Message, ...]:
    if not isinstance(given, Sequence) or not given or not all(isinstance(turn, dict) for turn in given):
        raise UserError(f"{where}: {name!r} must be a text or turns, each with a role and a content")
    for turn in given:
        if turn.get("role") not in _ROLES or not isinstance(turn.get("content"), str):
            raise UserError(f"{where}: each turn of {name!r} has a role ({', '.join(_ROLES)}) and a text as content")
    return tuple(Message(turn["role"], kept(turn["content"])) for turn in given)


def _text(where: str, name: str, given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise UserError(f"{where}: {name!r} must be a text that is not empty")
    return kept(given)
