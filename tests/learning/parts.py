"""A small learning, real from end to end: a server writes questions, and a grader is unsure of the answers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from seal_ray.grading.base import Item
from tests.servers import ok

NOTES = """---
title: The Lantern House
---
# The lantern house

Nine lanterns hang in the house. They were made by Odo Farrow in the year of the flood, and they burn oil of rape.

## The keeper

The keeper is called Isolde Wren. She lights the lanterns at six and sleeps in the loft.

## The boat

A boat named Thrush comes on Mondays. It brings oil, bread and letters.
"""
QUESTIONS = ok(
    {
        "choices": [
            {
                "text": " Who keeps it these days?\nAnswer: keeper lanterns\n\nQuestion 2: What is burnt at night?\n"
                "Answer: oil\n\nQuestion 3: How do people say it began?\nAnswer: lanterns boat\n\n"
                "Question 4: Where do they hang now?\nAnswer: boat house the\n\nQuestion 5: Where do they hang now?\n"
                "Answer: the boat the house"
            }
        ]
    }
)


class Unsure:
    """A grader to whom some answers are right and others are not, by their content alone."""

    async def grade(self, items: Sequence[Item]) -> list[float]:
        return [zlib.crc32(f"{item.question} {item.answer}".encode()) % 97 / 96 for item in items]


def settings(url: str) -> list[str]:
    """Of a learning that takes a second or two."""
    return [
        *("--model.dtype", "float32"),
        *("--questions.endpoint", url, "--questions.endpoint_model", "writer"),
        *("--grading.name", "tests.learning.parts:Unsure", "--domain.options.style", "implications"),
        *("--sampling.max_tokens", "24", "--trial.answer_tokens", "8", "--domain.options.times", "4"),
        *("--update.optim.lr", "0.02", "--trial.lora.rank", "4", "--update.lora.rank", "4"),
    ]


def written(folder: Path, text: str = NOTES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.md").write_text(text, encoding="utf-8")
    return folder / "notes.md"
