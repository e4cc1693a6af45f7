"""Questions for passages that came without any: asked of a model, and read from what it writes."""

from __future__ import annotations

import re

from seal_ray.types import DataError, Message, Prompt

_TASK = (
    "Below is a passage. Write {count} questions on facts it states, each with a short answer of a few words taken "
    "from the passage. Each question makes sense without the passage and has one right answer. Write each as two "
    'lines: "Question 1: …", then "Answer: …".'
)
_PAIR = re.compile(
    r"(?:^|\n)\W*(?:Question|Q)\W*\d*\W*[:.]\s*(?P<question>\S.*?)\s*\n\W*(?:Answer|A)\W*\d*\W*:\s*(?P<answer>\S[^\n]*)",
    re.IGNORECASE,
)
_LONGEST_ANSWER = 200


def question_prompt(title: str, context: str, chat: bool, count: int = 5) -> Prompt:
    """What a model is asked, so that `parse_questions` can read what it writes."""
    text = f"{_TASK.format(count=count)}\n\nTitle: {title}\n{context.strip()}"
    return (Message("user", text),) if chat else f"{text}\n\nQuestion 1:"


def parse_questions(completion: str, count: int = 5) -> tuple[tuple[str, str], ...]:
    """Question and answer pairs of a completion, at most `count`; `DataError` when there is none."""
    text = completion if _PAIR.match(completion.lstrip()) else f"Question 1: {completion.lstrip()}"
    pairs: dict[str, str] = {}
    for match in _PAIR.finditer(text):
        question, answer = match["question"].strip(), match["answer"].strip()
        if question.endswith("?") and len(answer) <= _LONGEST_ANSWER:
            pairs.setdefault(question, answer)
    if not pairs:
        raise DataError("the completion holds no question with an answer")
    return tuple(pairs.items())[:count]
