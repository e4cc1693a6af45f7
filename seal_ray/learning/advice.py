"""Which method to learn documents by, with so many tokens: from what was measured, and how near that is to them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import join, quote
from typing import Any

from seal_ray.learning.curves import Cost, Curves, Point, of_runs, parameters_of, shipped
from seal_ray.learning.documents import read_documents, rows_of
from seal_ray.learning.settings import DEFAULT_MODEL, config_for
from seal_ray.model.counting import counter
from seal_ray.plain import WIDTH, broken, counted
from seal_ray.types import UserError

_NEAR = 3.0
"""A model or passages so many times larger or smaller than those that were measured are others."""
_PROSE = "knowledge"
"""The domain of documents such as anybody's."""


@dataclass(frozen=True)
class Material:
    """What is to be learnt, and with what."""

    passages: int
    tokens: int
    note: str
    """How they were counted, where that is not by the model itself."""
    model: str
    parameters: int
    """0 where its size is not known here."""


@dataclass(frozen=True)
class Advice:
    """A method for these documents, and all that is to be known of why."""

    material: Material
    budget: int
    of: Cost
    curves: Curves
    chosen: Point
    best: Point
    """Which of those within the budget taught most where it was measured; the chosen one is not told apart from it."""
    files: tuple[str, ...] = ()
    model: str = ""
    """The documents and the model, as they were given."""

    @property
    def each(self) -> float:
        """Tokens of the budget for each token of text."""
        return self.budget / self.material.tokens

    @property
    def takes(self) -> int:
        """Tokens of the budget that the chosen method is going to need."""
        return round(self.curves.cost(self.chosen, self.of) * self.material.tokens)

    @property
    def beyond(self) -> float:
        """How many times the most that was measured the budget is."""
        return self.each / max(self.curves.cost(point, self.of) for point in self.curves.points)

    def far(self) -> list[str]:
        """In what these documents and this model are unlike those that were measured; nothing where they are near."""
        found, mine, theirs = [], self.material, self.curves
        if theirs.domain != _PROSE:
            found.append(f"what was learnt there were {theirs.text}, and yours are documents")
        length = mine.tokens / mine.passages
        if not _alike(length, theirs.passage):
            found.append(f"those passages had {theirs.passage:.0f} tokens, and yours have {length:.0f}")
        if not (mine.parameters and theirs.parameters):
            found.append("how large one of the two models is, is not known here")
        elif not _alike(mine.parameters, theirs.parameters):
            sizes = f"{_millions(theirs.parameters)}, and {mine.model} has {_millions(mine.parameters)}"
            found.append(f"that model had {sizes}")
        return found

    @property
    def command(self) -> list[str]:
        """What learns these documents so, word by word."""
        chosen, model = self.chosen, ["--model", self.model] if self.model else []
        texts = ["--texts", f"{chosen.texts:g}"] if chosen.texts else []
        epochs = ["--update.optim.epochs", str(self.curves.epochs)]
        return ["seal-ray", "learn", *self.files, "--method", chosen.method, *texts, *model, *epochs]

    def lines(self) -> Iterator[str]:
        """The advice, as a person reads it, on a terminal of 80 columns."""
        mine, curves, chosen = self.material, self.curves, self.chosen
        note = f" ({mine.note})" if mine.note else ""
        far, most = self.far(), f"{self.beyond:,.1f} times the most that was measured"
        how = "; ".join(dict.fromkeys(curves.runs[point.run] for point in (chosen, self.best)))
        yield from _under("documents:", f"{counted(mine.passages, 'passage')}, {mine.tokens:,} tokens in all{note}")
        each = f"{self.each:,.1f} for each token of text"
        yield from _under("budget:", f"{self.budget:,} tokens {_said(self.of)}, {each}")
        yield from _under("a guess:" if far else "advice:", f"{chosen.name}, which takes some {self.takes:,} of them")
        yield from _command(self.command)
        yield from _under("why:", f"it came to {_accuracy(chosen)} where it was measured; {self._beside()}")
        if self.beyond > 1:
            yield from _under("beyond:", f"the budget is {most}; what more would do is not known")
        on = f"{counted(curves.tasks, 'passage')}, {curves.epochs} epochs, with {curves.model}"
        yield from _under("measured:", f"{curves.text}: {on} ({how})")
        if far:
            yield from _under("far off:", "; ".join(far))
            yours = "`seal-ray methods` measures your own, `--measured DIR` goes by it"
            yield from _under("", f"no figure to expect: {yours}")
        else:
            yield from _under("near:", "documents too, of such length, with a model of such a size")

    def _beside(self) -> str:
        if self.chosen == self.best:
            return "nothing within the budget came to more"
        return f"{self.best.name} came to {_accuracy(self.best)}, which is not told apart from that, and takes more"

    def as_json(self) -> dict[str, Any]:
        more: dict[str, Any] = {"each": self.each, "takes": self.takes, "beyond": self.beyond, "far": self.far()}
        return asdict(self) | more | {"command": join(self.command)}


def advise(
    files: Sequence[str | os.PathLike[str]],
    budget: int,
    of: Cost = "trained",
    model: str = "",
    measured: Sequence[str] = (),
) -> Advice:
    """What to learn these documents by; `UserError` where nothing was measured that stays within the budget."""
    if budget < 1:
        raise UserError(f"--budget {budget}: give how many tokens there are")
    material = _material(files, model or DEFAULT_MODEL)
    curves = of_runs(measured) if measured else _nearest(material)
    each = budget / material.tokens
    within = [point for point in curves.points if curves.cost(point, of) <= each]
    if not within:
        least = min(curves.points, key=lambda point: curves.cost(point, of))
        raise UserError(
            f"--budget {budget}: is {each:.2f} tokens for each token of text, and the least that was measured is "
            f"{curves.cost(least, of):.2f} ({least.name}); nothing is known of less, so give at least "
            f"{round(curves.cost(least, of) * material.tokens) + 1}"
        )
    best = max(within, key=lambda point: (point.accuracy, -curves.cost(point, of)))
    alike = [point for point in within if point.accuracy >= best.low]
    chosen = min(alike, key=lambda point: (curves.cost(point, of), -point.accuracy))
    return Advice(material, budget, of, curves, chosen, best, tuple(os.fspath(file) for file in files), model)


def _material(files: Sequence[str | os.PathLike[str]], model: str) -> Material:
    with tempfile.TemporaryDirectory() as scratch:
        documents = read_documents(files, Path(scratch))
        count, note = counter(config_for(scratch, model).model.path)
        tokens = sum(count(f"{row['title']}\n{row['context']}") for row in rows_of(documents.file))
    return Material(documents.passages, round(tokens), note, model, parameters_of(model))


def _nearest(material: Material) -> Curves:
    """Those of the shipped ones that are least unlike."""

    def unlike(curves: Curves) -> int:
        return len(Advice(material, 1, "trained", curves, curves.points[0], curves.points[0]).far())

    return min(shipped(), key=unlike)


def _alike(one: float, other: float) -> bool:
    return max(one, other) <= _NEAR * min(one, other)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} million weights"


def _accuracy(point: Point) -> str:
    return f"{point.accuracy:.1%} ({point.low:.1%} to {point.high:.1%})"


def _said(of: Cost) -> str:
    return "trained on, over all epochs" if of == "trained" else "written"


def _under(name: str, text: str) -> list[str]:
    """A text after its label, broken into lines that fit a terminal."""
    return broken(text, f"{name:10} ")


def _command(words: Sequence[str]) -> Iterator[str]:
    """A command as a shell takes it, over as many lines as it needs."""
    line = f"{'do it by:':10}"
    for word in map(quote, words):
        if len(line) + len(word) + 3 > WIDTH:
            yield f"{line} \\"
            line = " " * 12
        line += f" {word}"
    yield line
