"""Asks a run's base three questions about a passage that stands in the prompt, and says what is wrong with the answers.

Whoever cannot answer these answers nothing closed book, and its figures say nothing: most often it was asked in a form
that it does not know. The base is loaded in a process of its own, so that the one that asks imports no torch.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass

from seal_ray import plugins
from seal_ray.config import Config, parse
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.passages import Passage
from seal_ray.domains.registry import load_domain
from seal_ray.grading.text import normalized
from seal_ray.model.template import chat_template, is_instruct
from seal_ray.plain import first_line, kept, one_line
from seal_ray.reading import as_tree
from seal_ray.types import BASE, Trial, UserError

PASSAGE = Passage(
    "The Brennick ferry",
    "The Brennick ferry crosses Lake Odrin twice a day. Mara Tollen has been its captain since 1987. The ferry is "
    "painted green, and it carries forty people.",
    (
        ("Who is the captain of the Brennick ferry?", "Mara Tollen"),
        ("What colour is the Brennick ferry?", "green"),
        ("Which lake does the Brennick ferry cross?", "Lake Odrin"),
    ),
)
"""Of invented facts, which no model knows from elsewhere."""
_SECONDS = 300.0
_SHOWN = 80


@dataclass(frozen=True)
class Asked:
    answers: tuple[str, ...]
    cut: tuple[bool, ...]

    @property
    def line(self) -> str:
        """The questions and what came back, as one line that no terminal obeys."""
        pairs = zip(PASSAGE.questions, self.answers, self.cut, strict=True)
        said = (f"{q} “{one_line(text, _SHOWN)}{' … (cut off)' if cut else ''}”" for (q, _), text, cut in pairs)
        return "of a passage in the prompt: " + " ".join(said)

    @property
    def empty(self) -> int:
        return sum(not answer.strip() for answer in self.answers)

    @property
    def hint(self) -> str:
        """What is worth knowing of answers that are answers."""
        golds = [normalized(gold) for _, gold in PASSAGE.questions]
        right = sum(gold in normalized(answer) for gold, answer in zip(golds, self.answers, strict=True))
        if right:
            return "" if right == len(golds) else f"{right} of {len(golds)} are right"
        return "none is right: what this model cannot read from its prompt it can hardly be taught; take a larger one"


def asks(config: Config) -> bool:
    """Whether the domain puts such questions."""
    return isinstance(load_domain(config), Knowledge)


def ask(config: Config) -> Asked:
    """Ask the base as the run would ask it; the config is settled."""
    command = [sys.executable, "-m", "seal_ray.ops.base_answers"]
    tree = json.dumps(as_tree(config))
    environment = {**os.environ, **plugins.environment()}
    try:
        done = subprocess.run(
            command, input=tree, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"the base gave no answer within {_SECONDS:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise UserError(f"the base could not be asked: {one_line(lines[-1])}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Asked(tuple(found["answers"]), tuple(found["cut"]))


def trouble(config: Config, asked: Asked) -> str:
    """What is wrong, and which setting to turn; empty where most answers are answers."""
    most = len(asked.answers) / 2
    empty, ran_on = asked.empty > most, sum(asked.cut) > most
    if not (empty or ran_on):
        return ""
    said = "the base answers nothing" if empty else "the base does not stop where its answer ends"
    return f"{said}: {_cause(config)}"


def _cause(config: Config) -> str:
    model, options = config.model, config.domain.options
    instruct = is_instruct(model.path, model.revision, ask_hub=False)
    if instruct and not options.get("chat"):
        return 'this looks like an instruct model asked without its chat template; set domain.options.chat = "auto"'
    if options.get("chat") and not instruct and chat_template(model.path, model.revision, ask_hub=False):
        return 'this looks like a base asked in chats, whose turns it cannot end; set domain.options.chat = "auto"'
    if not options.get("chat") and options.get("question"):
        return "this looks like a base without a cue to answer after; leave domain.options.question empty"
    if options.get("chat"):
        return (
            "it is asked with its own template; ask for a few words in domain.options.question, raise "
            "trial.answer_tokens, or take a larger model"
        )
    return "it is asked as its files say, so this looks like a model that answers no questions; take another one"


async def _answered(config: Config) -> Asked:
    from seal_ray.model.loading import ModelSpec
    from seal_ray.workers.trainer import Trainer

    domain = load_domain(config)
    assert isinstance(domain, Knowledge)
    shown = domain.baseline("in-context", domain.task(PASSAGE), 0)
    assert shown
    trainer = Trainer(ModelSpec.of(config.model, config.workers.gpus_per_trainer), 1, 0)
    await trainer.setup()
    trial = Trial("doctor", BASE, None, 0, shown.questions, config.trial.answer_tokens, domain.stop)
    outcome = await trainer.run_trial(trial)
    if outcome.failure:
        raise UserError(outcome.failure.reason)
    return Asked(tuple(map(kept, outcome.answers)), outcome.cut)


def _main() -> None:
    """Read a config, and print what its base answers."""
    try:
        found = asyncio.run(_answered(parse(json.load(sys.stdin), "the doctor's config")))
    except UserError as error:
        sys.exit(first_line(error))
    print(json.dumps({"answers": found.answers, "cut": found.cut}))


if __name__ == "__main__":
    _main()
