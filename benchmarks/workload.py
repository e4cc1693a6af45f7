"""What trials are made of, in tokens: from a recorded round, or drawn like one where no record is at hand."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from seal_ray.types import LoraSpec, OptimSpec, UserError

LORA, OPTIM = LoraSpec(), OptimSpec()
"""The published settings of a trial: rank 32 on q and v, 10 epochs in batches of one."""
_WORD = re.compile(r"\w+|[^\w\s]|\n")
_WORD_LETTERS = 8  # a longer word is taken for several tokens


@dataclass(frozen=True)
class Workload:
    """The trials of a round."""

    edits: tuple[tuple[int, ...], ...]
    """Tokens of each training text, the passage's own among them, by self-edit."""
    questions: int
    """How many are answered after a trial."""
    prompt: int
    """Tokens of a question."""
    answer: int
    """Tokens of a trial's longest answer."""
    source: str
    epochs: int = OPTIM.epochs

    @property
    def lengths(self) -> list[int]:
        return [length for edit in self.edits for length in edit]

    @property
    def steps(self) -> float:
        """Training steps of a trial, on average."""
        return self.epochs * fmean(map(len, self.edits))

    @property
    def tokens(self) -> float:
        """Tokens a trial trains on, over all epochs, on average."""
        return self.epochs * fmean(map(sum, self.edits))

    def sample(self, count: int) -> list[int]:
        """`count` text lengths spread evenly over all of them, in an order of their own."""
        every = sorted(self.lengths)
        chosen = [every[int((place + 0.5) * len(every) / count)] for place in range(count)]
        random.Random(count).shuffle(chosen)
        return chosen


def workload(record: str = "") -> Workload:
    """The work of a recorded round, where a file is given; otherwise one drawn to be like it."""
    return recorded(Path(record)) if record else drawn()


def drawn(count: int = 250, seed: int = 0) -> Workload:
    """Self-edits of 4 texts and more, 8.7 on average, and texts of 48 tokens, with tails as heavy as the recorded."""
    draw = random.Random(seed)
    edits = []
    for _ in range(count):
        texts = min(64, 4 + int(draw.lognormvariate(1.3, 0.75)))
        passage = int(min(400, max(60, draw.lognormvariate(5.0, 0.35))))
        edits.append((*(int(min(200, max(12, draw.lognormvariate(3.45, 0.4)))) for _ in range(texts - 1)), passage))
    return Workload(tuple(edits), questions=5, prompt=18, answer=40, source="lengths drawn like a recorded round's")


def recorded(path: Path) -> Workload:
    """The lengths of a recorded round; tokens are counted as short words, pieces of long ones, and marks."""
    from seal_ray.domains.knowledge.texts import training_texts
    from seal_ray.published.read import read_record

    passages = read_record(path).passages
    edits, longest = [], []
    for passage in passages:
        for completion in passage.completions:
            texts = training_texts(passage.title, passage.context, completion.text)
            edits.append(tuple(max(2, count_tokens(text)) for text in texts))
            answers = [count_tokens(verdict.adapter_answer) for verdict in completion.verdicts]
            if answers:
                each = len(passage.questions)
                longest += [max(answers[at : at + each]) for at in range(0, len(answers), each)]
    asked = [count_tokens(f"Topic: {p.title}\n{question}") for p in passages for question, _ in p.questions]
    if not edits or not asked:
        raise UserError(f"{path}: holds no self-edit with questions; give a recorded round such as rank_iter0.json")
    return Workload(
        tuple(edits),
        questions=math.ceil(len(asked) / len(passages)),
        prompt=round(fmean(asked)),
        answer=min(64, round(fmean(longest or [64]))),
        source=f"the recorded lengths of {path.name}",
    )


def count_tokens(text: str) -> int:
    return sum(-(-len(word) // _WORD_LETTERS) for word in _WORD.findall(text))
