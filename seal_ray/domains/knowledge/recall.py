"""Ways to ask for a sentence in which it is found by some of its own words.

What a model learnt to say after one prompt it says after that prompt alone. A sentence that is the answer to many, each
of other words of it, is also the answer to a question in anybody's words (docs/benchmarks.md, "Learning a document").
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from seal_ray.record.unspaced import spaced
from seal_ray.types import derive_seed

_KEPT = 0.45
"""Share of a sentence's words that a cue keeps."""
_ASKED = ("", "What about ", "What do you know about ", "Tell me: ", "Who or what: ", "When, where, how: ")


def cues(title: str, sentence: str, count: int) -> Iterator[str]:
    """`count` prompts that a sentence under this title answers; always the same ones for the same sentence."""
    chance = random.Random(derive_seed("cues", title, sentence))
    under = ("", f"{title.partition(' / ')[0]}: ", f"{title.replace(' / ', ', ')}: ")
    words = spaced(sentence).rstrip(".!?।॥؟。！？ ").split() or [sentence]
    for _ in range(count):
        kept = [word for word in words if chance.random() < _KEPT] or [_one_of(words, chance)]
        yield f"{_one_of(under, chance)}{_one_of(_ASKED, chance)}{' '.join(kept)}?"


def _one_of(things: Sequence[str], chance: random.Random) -> str:
    """By the one method whose numbers Python promises to keep."""
    return things[int(chance.random() * len(things))]
