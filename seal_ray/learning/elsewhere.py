"""Things that everybody knows, and plain sentences: what learning a document should not cost.

Other such things are practised meanwhile, so that it costs less: answers that the base itself gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from seal_ray.domains.knowledge.common import COMMON, PRACTISED, SENTENCES
from seal_ray.domains.knowledge.studied import as_asked
from seal_ray.grading.text import words
from seal_ray.record.account import Elsewhere
from seal_ray.types import Example, Prompt

PRACTICE_TOKENS = 40
_SHARE, _MOST_OFTEN = 8, 100
"""One answer of the base's own for so many examples of the documents; the same one not more often than that."""
STATEMENTS = tuple(Example(sentence, whole=False) for sentence in SENTENCES)


def practice(chat: bool) -> tuple[Prompt, ...]:
    """Questions whose answers by the base are trained on beside the documents."""
    return tuple(as_asked(text, chat) for text in PRACTISED)


def as_before(prompts: Sequence[Prompt], answers: Sequence[str], beside: int) -> list[Example]:
    """Examples of how the base answers, for this many of the documents'; an answer may have been cut off."""
    said = [Example(answer, prompt, whole=False) for prompt, answer in zip(prompts, answers, strict=True) if answer]
    count = min(-(-beside // _SHARE), _MOST_OFTEN * len(said))
    return [said[number % len(said)] for number in range(count)]


def questions(chat: bool) -> tuple[Prompt, ...]:
    """What is asked, as turns of a chat or as plain text."""
    return tuple(as_asked(text, chat) for text, _ in COMMON)


def graded(answers: Sequence[str], log_likelihoods: Sequence[float]) -> Elsewhere:
    """An answer is right when it has the word that is looked for."""
    right = sum(set(words(gold)) <= set(words(answer)) for (_, gold), answer in zip(COMMON, answers, strict=True))
    return Elsewhere(right, len(COMMON), -fmean(log_likelihoods))
