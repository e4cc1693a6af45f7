"""Styles of self-edit: what the policy is told to write about a passage, and how that is cut into training texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter

from seal_ray.plain import one_line
from seal_ray.types import Chat, Message, Prompt, UserError

_SYSTEM = "You write study material that someone learns a text from. You write the material and nothing around it."
_PASSAGE = "Title: {title}\n{context}"
ABOUT = "{about}"
"""Stands in a style's instruction for what is to be written about."""
_HINT = "What helped with other passages:"
_ALONE = "Each line makes sense on its own and names what it is about."


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
    hint: str = ""
    """A line of advice that is given along."""

    def about(self, what: str) -> Style:
        """This style, where it leaves open what is to be written about."""
        return replace(self, task=self.task.replace(ABOUT, what))

    def prompt(self, title: str, context: str, chat: bool) -> Prompt:
        fields = {"title": title, "context": context.strip()}
        hint = f"{_HINT} {self.hint}" if self.hint else ""
        if self.template:
            text = "\n\n".join(filter(None, [hint, self.template.format(**fields)]))
            return (Message("user", text),) if chat else text
        asked = "\n\n".join([" ".join(filter(None, [self.task, hint])), _PASSAGE.format(**fields)])
        if chat:
            turns: Chat = (Message("system", _SYSTEM), Message("user", asked))
            return turns
        return f"{asked}\n\n{self.cue}"


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
_STUDIES = (
    Style(
        "rephrase",
        "Below is a passage. Write it once more in other words, as an encyclopaedia would have it, keeping every fact, "
        "name and number.",
        "The passage in other words:\n",
    ),
    Style(
        "concepts",
        f"Below is a passage. List the things that one has to know to understand it, and explain each in a sentence "
        f"or two from the passage. {_ALONE}",
        "What one has to know:\n",
    ),
    Style(
        "outline",
        f"Below is a passage. Turn it into a map of what it says: a line for each topic and for each thing said about "
        f"it, with how they hang together. {_ALONE}",
        "What the passage says, topic by topic:\n",
    ),
    Style(
        "why-qa",
        "Below is a passage. Write questions that ask why, how, and what if, which the passage lets one answer, with "
        'full answers. Number the questions, and give each its answer on the next line: "Question 1: …", then '
        '"Answer: …". Each question makes sense without the passage.',
        "Question 1:",
        pairs=True,
    ),
    Style(
        "cases",
        f"Below is a passage. Describe situations in which somebody needs what it says, and what it tells them, with "
        f"its names and numbers. {_ALONE}",
        "Situations in which one needs this:\n",
    ),
    Style(
        "discussion",
        f"Below is a passage. Write a conversation of two people who go through it, one asking and one explaining, "
        f"until all of it has been said. {_ALONE}",
        "A conversation about the passage:\n",
    ),
    Style(
        "lecture",
        f"Below is a passage. Teach it as a teacher would: first what it is about, then each point with what it means, "
        f"and at the end all facts once more. {_ALONE}",
        "The lesson:\n",
    ),
    Style(
        "strategies",
        "Below is a passage. Propose ways of studying it that would make one remember everything in it, each other "
        "than the rest and made for this passage. One a line, each an instruction for what to write.",
        "Ways of studying the passage:\n1.",
    ),
    Style("strategy", f"Below is a passage. Study it in this way: {ABOUT} {_ALONE}", "The study notes:\n"),
    Style(
        "entities",
        "Below is a passage. List the people, places, things, times and ideas that it names, one a line, and nothing "
        "else.",
        "What the passage names:\n1.",
    ),
    Style(
        "relation",
        f"Below is a passage. Write what it says and implies of how these hang together: {ABOUT}. {_ALONE}",
        "How they hang together:\n",
    ),
)
STYLES = {style.name: style for style in (*_STYLES, *_STUDIES)}
METHOD_STYLES = {
    "rephrase": ("rephrase",),
    "qa": ("self-qa",),
    "spa": ("concepts", "outline", "implications", "why-qa", "cases", "discussion", "lecture"),
    "active-reading": ("strategies", "strategy"),
    "entigraph": ("entities", "relation"),
}
"""The styles that a method of writing takes: all in equal shares, or one that says what the other is to be about."""


_OTHERS = (*METHOD_STYLES["active-reading"], *METHOD_STYLES["entigraph"])
STRATEGIES = tuple(name for name in STYLES if name not in _OTHERS)
"""The styles that need nothing but the passage, and make texts to learn it from."""


def templates(folder: str, style: Style) -> dict[str, Style]:
    """The user's own styles, one in each file of a folder, by the file's name; all are cut as the named style is."""
    files = sorted(Path(folder).glob("*.txt")) if Path(folder).is_dir() else []
    if not files:
        raise UserError(f"{folder}: no folder that holds templates, files of the form NAME.txt")
    if taken := next((file for file in files if file.stem in STYLES), None):
        raise UserError(f"{taken}: a style is called {taken.stem!r} already; give the file another name")
    return {file.stem: replace(from_template(str(file), style), name=file.stem) for file in files}


def from_template(path: str, style: Style) -> Style:
    """A style whose prompt is the user's own file; how completions are cut stays that of the named style."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
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
