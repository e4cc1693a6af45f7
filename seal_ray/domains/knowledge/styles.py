"""Styles of self-edit: what the policy is told to write about a passage, and how that is cut into training texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from seal_ray.plain import one_line
from seal_ray.types import Chat, Message, Prompt, UserError

_SYSTEM = "You write study material that someone learns a text from. You write the material and nothing around it."
_PASSAGE = "Title: {title}\n{context}"


@dataclass(frozen=True)
class Style:
    name: str
    task: str
    """The instruction."""
    cue: str
    """The line a base model writes on from; chat models do without."""
    pairs: bool = False
    """The completion holds questions with answers, which are to stay together."""
    template: str = ""
    """A whole prompt with `{title}` and `{context}`, instead of `task` and `cue`."""

    def prompt(self, title: str, context: str, chat: bool) -> Prompt:
        fields = {"title": title, "context": context.strip()}
        if self.template:
            text = self.template.format(**fields)
            return (Message("user", text),) if chat else text
        passage = _PASSAGE.format(**fields)
        if chat:
            turns: Chat = (Message("system", _SYSTEM), Message("user", f"{self.task}\n\n{passage}"))
            return turns
        return f"{self.task}\n\n{passage}\n\n{self.cue}"


_STYLES = (
    Style(
        "implications",
        "Below is a passage. List what follows from it, directly or at one remove: one numbered point a line, each a "
        "full sentence that makes sense on its own and names what it is about.",
        "What follows from the passage:\n",
    ),
    Style(
        "implications-long",
        "Below is a passage. Make a long list of what follows from it, directly or at one remove. Leave out no name, "
        "number, date, place, cause or consequence. One numbered point a line, each a full sentence that makes sense "
        "on its own and names what it is about.",
        "A long list of what follows from the passage:\n",
    ),
    Style(
        "implications-very-long",
        "Below is a passage. Make a very long list of what follows from it: every fact it states, the same facts seen "
        "from the other side and in other words, what each lets one conclude, and how they hang together. Leave out no "
        "name, number, date, place, cause or consequence. One numbered point a line, each a full sentence that makes "
        "sense on its own and names what it is about. Keep going until nothing is left to say.",
        "A very long list of what follows from the passage:\n",
    ),
    Style(
        "rewrite",
        "Below is a passage. Write it anew several times, each time in other words and in another order, keeping every "
        "fact, name and number. Put a line of three dashes (---) between one version and the next.",
        "The passage in other words:\n",
    ),
    Style(
        "self-qa",
        "Below is a passage. Turn it into questions with answers that cover every fact in it. Number the questions, "
        'and give each its answer on the next line: "Question 1: …", then "Answer: …". Each question makes sense '
        "without the passage.",
        "Question 1:",
        pairs=True,
    ),
)
STYLES = {style.name: style for style in _STYLES}


def from_template(path: str, style: Style) -> Style:
    """A style whose prompt is the user's own file; how completions are cut stays that of the named style."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such template") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the template cannot be read as UTF-8 text: {error}") from None
    try:
        fields = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise UserError(f"{path}: {error}; write a literal brace twice, as {{{{ or }}}}") from None
    unknown, missing = sorted(fields - {"title", "context"}), {"context"} - fields
    if unknown:
        raise UserError(f"{path}: unknown field {{{one_line(unknown[0])}}}; a template has {{title}} and {{context}}")
    if missing:
        raise UserError(f"{path}: the field {{context}} is missing; the policy would not see the passage")
    return Style(style.name, style.task, style.cue, style.pairs, text)
