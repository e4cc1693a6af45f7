"""The adapters that a directory holds, seen from beside: what each is, what it adapts, what it changed, its size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from seal_ray.domains.drawing import held_out_tasks
from seal_ray.domains.registry import learns, load_domain
from seal_ray.looking.words import NOTHING, fitted, percent, size
from seal_ray.plain import counted, one_line, visible
from seal_ray.policy.adapters import Shape, shape_of
from seal_ray.policy.catalogue import Held, catalogue_of
from seal_ray.policy.lineage import sequence_head
from seal_ray.policy.retraction import RETRACTION, Answers, answers
from seal_ray.record.account import known_arm, read_account
from seal_ray.record.continual import CONTINUAL, arm_of
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, LearntRow, PolicyRow, RetractedRow, SelfEditRow
from seal_ray.record.segments import Damaged
from seal_ray.record.storage import Store
from seal_ray.record.summary import UNTRAINED, Interval, policy_arm, summarize
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import UserError
from seal_ray.update.warm_start import WARM_START


@dataclass(frozen=True)
class Told:
    """One adapter, with all that the record says of it."""

    held: Held
    what: str
    shape: Shape | None
    """None where its files are damaged or gone."""
    before: float | None
    """The accuracy before it was trained, on what it is measured on; None where nothing was measured then."""
    after: float | None
    damage: str = ""
    """What is wrong with its files, and the command that sets them aside."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of the adapted modules in the base model; none where that cannot be read."""
        return self.shape.modules if self.shape else ()

    @property
    def layers(self) -> str:
        """The layers that it sits in, as spans."""
        numbers = sorted({int(found[1]) for path in self.modules if (found := re.search(r"\.(\d+)\.", path))})
        begins = [n for n in numbers if n - 1 not in numbers]
        ends = [n for n in numbers if n + 1 not in numbers]
        return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(begins, ends, strict=True)) or NOTHING

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the linear modules that it adapts."""
        return tuple(dict.fromkeys(path.rpartition(".")[2] for path in self.modules))

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        rank, alpha = (self.shape.rank, self.shape.alpha) if self.shape else (None, None)
        made = {"rank": rank, "alpha": alpha, "targets": self.targets, "layers": self.layers}
        measured = {"before": self.before, "after": self.after}
        return {
            "name": self.held.name,
            "kind": self.held.kind,
            "what": self.what,
            "parents": self.held.parents,
            **made,
            **measured,
            "bytes": self.shape.bytes if self.shape else None,
            "folder": self.held.folder,
            "damage": self.damage or None,
        }


class Shelf:
    """A directory's adapters, and what was measured of them; each part of the record is read once."""

    def __init__(self, directory: str) -> None:
        self.directory, self.held = directory, catalogue_of(directory)
        self._config, self._store = recorded_config(directory), Store(directory)
        self._journal = Journal(self._store)

    def told(self) -> list[Told]:
        """All of them, those too whose files are damaged or gone."""
        return [self._told(each) for each in self.held]

    def tell(self, held: Held) -> Told:
        """All that is known of one adapter; `Damaged` where its files are damaged or gone."""
        return Told(held, self._what(held), shape_of(self._store, held.folder), *self._measured(held))

    def _told(self, held: Held) -> Told:
        try:
            return self.tell(held)
        except Damaged as damaged:
            return Told(held, f"damaged: {self._what(held)}", None, *self._measured(held), str(damaged))

    def bytes(self) -> int:
        """The bytes of all adapters together; several names may share a folder, which counts once."""
        folders = {each.folder for each in self.held}
        return sum(sum(self._store.walk(folder).values()) for folder in folders)

    def texts(self, held: Held) -> Iterator[tuple[str, str]]:
        """The self-edits that it was trained on, each with the title of its task, as far as they are on record."""
        row = held.row
        if isinstance(row, PolicyRow):
            wanted = {each.self_edit for each in self._journal.read(KeptRow) if each.stage == f"round {row.version}"}
            edits = (each for each in self._journal.read(SelfEditRow) if each.key in wanted)
        elif isinstance(row, LearntRow) and held.alone:
            at = CONTINUAL, row.task_id, self._writer(row)
            edits = (e for e in self._journal.read(SelfEditRow) if (e.stage, e.task_id, e.policy) == at)
        else:
            return
        for edit in edits:
            yield self._title(edit.task_id), edit.completion

    def _writer(self, row: LearntRow) -> int:
        """The version of the policy that wrote of a passage."""
        rounds = max((each.version for each in self._journal.read(PolicyRow)), default=0)
        rows = self._journal.read(LearntRow)
        mine = [e for e in rows if (e.way, e.sequence) == (row.way, row.sequence) and e.step < row.step]
        if self._config.continual.writer == "start" or not mine:
            return rounds
        return max(mine, key=lambda each: each.step).version

    def _what(self, held: Held) -> str:
        row = held.row
        if isinstance(row, PolicyRow):
            what = f"policy of round {row.version}" if row.version else f"policy of the {WARM_START}"
            return f"documents, version {row.version}" if learns(self._config) else what
        if isinstance(row, RetractedRow):
            return f"policy without passage {', '.join(map(str, row.out))}"
        if held.alone:
            return f"lesson {row.step}: {self._title(row.task_id)}"
        return f"policy after {counted(row.step, 'passage')}"

    def _measured(self, held: Held) -> tuple[float | None, float | None]:
        """Accuracy before and after: of a lesson on its passage, of a policy on all that is asked of it."""
        row = held.row
        if isinstance(row, PolicyRow):
            return self._of_round(row)
        head = sequence_head(row.sequence, row.way)
        begun = self._answers.get((CONTINUAL, arm_of(head, 0)), {})
        steps = range(row.step if isinstance(row, LearntRow) else 0, len(begun) + 1)
        asked = [self._answers.get((CONTINUAL, arm_of(head, step)), {}) for step in steps]
        if isinstance(row, RetractedRow):
            now = self._answers.get((RETRACTION, sequence_head(row.sequence, row.way, row.out)), {})
            return _mean(asked[-1]), _mean(now)
        if held.alone:
            place = row.step - 1
            after = next((found[place].accuracy for found in asked if place in found), None)
            return begun[place].accuracy if place in begun else None, after
        return _mean(begun), _mean(asked[0]) if asked and len(asked[0]) == len(begun) else None

    def _of_round(self, row: PolicyRow) -> tuple[float | None, float | None]:
        if not learns(self._config):
            measured = self._summary
            before = _figure(measured.get(UNTRAINED)) if row.version else None  # of the base there is no such figure
            return before, _figure(measured.get(policy_arm(row.version)))
        account = read_account(self._store)
        arms = account.arms if account and account.version == row.version else {}
        before, after = (arms.get(arm, {}).get("accuracy") for arm in ("base", known_arm(row.version)))
        return before, after

    def _title(self, task: str) -> str:
        return self.titles.get(task, task)

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """Titles by task, as far as the sources that the config names are here."""
        config = self._config
        try:
            domain = load_domain(config)
            held_out = held_out_tasks(config, domain) if not learns(config) else ()
            return {task.id: task.title for task in held_out}
        except UserError:
            return {}

    @cached_property
    def _answers(self) -> Answers:
        return answers(self._journal)

    @cached_property
    def _summary(self) -> Mapping[str, Interval]:
        return summarize(self._journal)


def _mean(asked: Mapping[int, Any]) -> float | None:
    return fmean(each.accuracy for each in asked.values()) if asked else None


def _figure(found: Interval | None) -> float | None:
    return None if found is None or found.void else found.accuracy


_SPARE = ("size", "on top of", "rank", "in layers", "alpha")


def table(found: Sequence[Told], total: int, width: int | None = None) -> list[str]:
    """A line for each, and one for all, on a terminal that wide."""
    titles = ("adapter", "what it is", "on top of", "rank", "alpha", "in layers", "before", "after", "size")
    shown = found if width is None else [replace(each, what=one_line(each.what, width * 2 // 5 - 2)) for each in found]
    rows = [titles, *map(_cells, shown)]
    return [*fitted(rows, _SPARE, width), f"{counted(len(found), 'adapter')}, {size(total)}"]


def _cells(each: Told) -> list[str]:
    rank, alpha, takes = (NOTHING,) * 3
    if shape := each.shape:
        rank, alpha, takes = str(shape.rank), f"{shape.alpha:g}", size(shape.bytes)
    below, *_ = each.held.parents or (NOTHING,)
    measured = percent(each.before), percent(each.after)
    return [each.held.name, each.what, below, rank, alpha, each.layers, *measured, takes]


def lines(shelf: Shelf, told: Told) -> list[str]:
    """Everything about one, for a person."""
    shape, row = told.shape, told.held.row
    assert shape, told.damage
    said = [
        f"{told.held.name}: {told.what}",
        *(f"from: {line}" for line in ancestry(shelf.held, told.held)),
        f"recipe: rank {shape.rank}, alpha {shape.alpha:g}; {', '.join(told.targets)} in layers {told.layers}",
        f"accuracy: {percent(told.before)} before, {percent(told.after)} after",
        f"size: {size(shape.bytes)} in {told.held.folder}",
    ]
    if isinstance(row, LearntRow) and told.held.alone:
        said.append(f"work: trained on {counted(row.tokens, 'token')} for {row.seconds:.1f} s")
    if isinstance(row, PolicyRow) and row.first_loss is not None and row.last_loss is not None:
        said.append(f"work: {counted(row.steps, 'step')}, loss {row.first_loss:.3f} to {row.last_loss:.3f}")
    for title, text in shelf.texts(told.held):
        said += [f"self-edit on {title}:", *(f"  {line}" for line in text.splitlines())]
    return [visible(line) for line in said]


def show_json(shelf: Shelf, told: Told) -> dict[str, Any]:
    """The same for a program."""
    texts = [{"title": title, "self_edit": text} for title, text in shelf.texts(told.held)]
    return {**told.as_json(), "lineage": ancestry(shelf.held, told.held), "texts": texts, "row": asdict(told.held.row)}


def ancestry(held: Sequence[Held], one: Held) -> list[str]:
    """How an adapter came about, a line for each that it stands on, itself first and the base last."""
    known, wanted, said = {each.name: each for each in held}, [one.name], dict[str, None]()
    for name in wanted:
        parents = known[name].parents if name in known else ()
        said.setdefault(f"{name}, on {' + '.join(parents)}" if parents else name)
        wanted += [parent for parent in parents if parent not in wanted]
    return list(said)
