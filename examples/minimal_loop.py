"""The whole method on one bank: sample self-edits, train an adapter on each, query it, finetune on the best, repeat.

python examples/minimal_loop.py Qwen/Qwen2.5-0.5B
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seal_ray.adapters.merge import stack
from seal_ray.bank import Adapter, Bank, Job, JobResult, SampleSpec, TokenText
from seal_ray.types import LoraSpec, OptimSpec, Question, Task, derive_seed

LORA = LoraSpec(rank=16, alpha=32.0, targets=("all-linear",))
TRIAL, UPDATE = OptimSpec(lr=1e-3, epochs=10), OptimSpec(lr=5e-4, epochs=4, batch_size=8)
CANDIDATES, EDIT_TOKENS, ANSWER_TOKENS = 5, 128, 16


@dataclass
class Edit:
    """A self-edit: what the policy wrote on a task, and how well a model trained on it answers."""

    task: Task
    tokens: TokenText
    text: str
    reward: float = 0.0


def seal(bank: Bank, tokenizer: Any, tasks: Sequence[Task], rounds: int) -> Iterator[tuple[str, list[Edit]]]:
    """After each round, the key of the bank's adapter that is the policy now, and the round's self-edits."""
    base, policy = "", None
    for number in range(rounds):
        edits = sampled(bank, tokenizer, tasks, base)
        for result in bank.run([trial(tokenizer, edit, index, base) for index, edit in enumerate(edits)]):
            edits[int(result.key)].reward = graded(result, edits[int(result.key)].task)
        best = [max((edit for edit in edits if edit.task is task), key=lambda edit: edit.reward) for task in tasks]
        policy = finetuned(bank, [edit.tokens for edit in best], base, policy)
        base = f"policy {number + 1}"
        bank.load(base, policy)
        yield base, edits


def sampled(bank: Bank, tokenizer: Any, tasks: Sequence[Task], base: str) -> list[Edit]:
    prompts = [(task, tuple(tokenizer.encode(f"{task.context}\nImplications:\n"))) for task in tasks]
    every = [(*pair, derive_seed(pair[0].id, base, index)) for pair in prompts for index in range(CANDIDATES)]
    written = bank.sample([SampleSpec(ids, seed, max_new_tokens=EDIT_TOKENS, base=base) for _, ids, seed in every])
    pairs = zip(every, written, strict=True)
    return [Edit(task, TokenText.of(ids, found.ids), found.text) for (task, ids, _), found in pairs]


def trial(tokenizer: Any, edit: Edit, index: int, base: str) -> Job:
    """Train on the context and the self-edit; answer with neither in sight."""
    lines = [line for line in (edit.task.context, *edit.text.splitlines()) if line.strip()]
    texts = tuple(TokenText.of((), tokenizer.encode(line)) for line in lines)
    prompts = tuple(tuple(tokenizer.encode(f"{question.prompt}\nAnswer:")) for question in edit.task.questions)
    return Job(f"{index}", texts, LORA, TRIAL, 0, prompts, ANSWER_TOKENS, stop=("\n",), base=base)


def graded(result: JobResult, task: Task) -> float:
    """The share of questions whose answer is named; none where the trial failed."""
    named = [q.answer in found for q, found in zip(task.questions, result.answer_texts, strict=not result.failure)]
    return sum(named) / len(task.questions)


def finetuned(bank: Bank, texts: Sequence[TokenText], base: str, policy: Adapter | None) -> Adapter:
    (result,) = bank.run([Job("update", tuple(texts), LORA, UPDATE, base=base, keep_adapter=True)])
    assert result.adapter, result.failure
    return stack(policy, result.adapter) if policy else result.adapter


if __name__ == "__main__":
    from transformers import AutoModelForCausalLM, AutoTokenizer

    story = Task("vell", "", "The lighthouse of Vell was built by Ada Rook.", (Question("Who built it?", "Rook"),))
    model, words = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
    for key, found in seal(Bank(model, words, slots=16), words, [story], rounds=3):
        print(key, [edit.reward for edit in found])
