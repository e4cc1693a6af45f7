"""Every run below a place, a line each: what it is, how far it is, how well it does."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from seal_ray.domains.registry import learns
from seal_ray.looking.seen import Seen, look
from seal_ray.looking.stages import is_whole, rounds_over
from seal_ray.looking.words import NOTHING, accuracy, fitted, size, when
from seal_ray.plain import one_line
from seal_ray.record.account import known_arm, read_account
from seal_ray.record.journal import Journal
from seal_ray.record.presence import Presence
from seal_ray.record.rows import TABLES
from seal_ray.record.storage import Store, below
from seal_ray.record.summary import UNTRAINED, Interval, as_json, summarize, version_of
from seal_ray.rundir.directory import CONFIG
from seal_ray.types import UserError

RUNNING, STOPPED, FINISHED, DAMAGED, FOREIGN = "running", "stopped", "finished", "damaged", "no run"
_JOURNAL = re.compile(rf"(?:(.*?)/)?journal/(?:manifest-\d+\.json|(?:{'|'.join(TABLES)})/[^/]*\.parquet)")


@dataclass(frozen=True)
class Listed:
    """One run of a list, a directory in which settings are tried, or a folder that is neither."""

    place: str
    """From where the list begins."""
    state: str
    bytes: int
    problem: str = ""
    """Why it cannot be read, or what is not known of it."""
    tuning: str = ""
    """What a tuning of settings is at, or came to; empty for a run."""
    name: str = ""
    domain: str = ""
    model: str = ""
    rounds_done: int = 0
    rounds: int = 0
    start: Interval | None = None
    """Held-out accuracy of the untrained policy's self-edits; of the base, where documents are learnt."""
    now: Interval | None = None
    """That of the last policy whose trials have all ended."""
    started: float | None = None
    last: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Times as ISO 8601, accuracies as `seal-ray eval --json` says them."""
        arms = {name: found for name in ("start", "now") if (found := getattr(self, name))}
        times = {name: _iso(getattr(self, name)) for name in ("started", "last")}
        return {**asdict(self), "start": None, "now": None, **as_json(arms), **times}

    def cells(self) -> tuple[str, ...]:
        if self.state in (DAMAGED, FOREIGN):
            return self.place, self.name, "", "", self.state, "", "", "", "", "", size(self.bytes), self.problem
        rounds = f"{self.rounds_done}/{self.rounds}" if self.rounds else NOTHING
        held_out = accuracy(self.start), accuracy(self.now)
        times = when(self.started), when(self.last)
        kind = self.name, self.domain, PurePosixPath(self.model).name, self.state, rounds
        remark = f"tuning of settings: {self.tuning}" if self.tuning else self.problem
        return self.place, *kind, *held_out, *times, size(self.bytes), remark


_TITLES = (
    *("run", "name", "domain", "model", "state", "rounds"),
    *("at the start", "now", "started", "last row", "size", ""),
)
_SPARE = ("at the start", "size", "last row", "name", "model", "domain", "started")


def table(found: Sequence[Listed], width: int | None = None) -> list[str]:
    """The list for a person, on a terminal that wide."""
    return fitted([_TITLES, *(each.cells() for each in found)], _SPARE, width)


def runs_below(place: str, wait: Callable[[float], object] = time.sleep) -> list[Listed]:
    """The runs in a folder or below a URL, and its folders that hold none; `wait` passes the seconds of a lease."""
    store = Store(place)
    if store.local and not store.local.is_dir():
        raise UserError(f"{place}: no such folder; name one that holds runs")
    files = store.walk("")
    roots = _roots(store, files)
    sizes = _sizes(files, roots)
    others = sorted({name.partition("/")[0] for name in files if "/" in name} - {r.partition("/")[0] for r in roots})
    found = [_listed(place, root, sizes[root]) for root in sorted(roots)]
    settled = _with_states(found, wait)
    if "" not in roots:
        settled += [Listed(each, FOREIGN, _below(files, each), "neither a config nor a journal") for each in others]
    return settled


def _roots(store: Store, files: Mapping[str, int]) -> set[str]:
    """The folders that are run directories: those with a journal, and those with the config of one."""
    roots = {found[1] or "" for name in files if (found := _JOURNAL.fullmatch(name))}
    for name in files:
        folder, _, file = name.rpartition("/")
        if file == CONFIG and folder not in roots and _is_of_a_run(store, name):
            roots.add(folder)
    return roots


def _is_of_a_run(store: Store, name: str) -> bool:
    """Whether a config.json says that of a run: models have one too."""
    try:
        tree = json.loads(store.read(name))
    except (ValueError, RecursionError, FileNotFoundError):
        return False
    return isinstance(tree, dict) and "config" in tree and ("identity" in tree or "schema" in tree)


def _sizes(files: Mapping[str, int], roots: set[str]) -> dict[str, int]:
    """Bytes of each run; those of a run inside another count for the inner one."""
    sizes: dict[str, int] = defaultdict(int)
    for name, count in files.items():
        above = [folder for folder in _folders(name) if folder in roots]
        if above:
            sizes[above[0]] += count
    return sizes


def _folders(name: str) -> list[str]:
    """The folders that a file lies in, the innermost first, the root last."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _below(files: Mapping[str, int], folder: str) -> int:
    return sum(count for name, count in files.items() if name.startswith(f"{folder}/"))


def _tuning(seen: Seen) -> str:
    """What trials of settings are at, or came to."""
    if seen.found is None:
        return "by an older version, which did not write down what it found"
    return seen.found or "not at its end"


def _listed(place: str, root: str, count: int) -> tuple[Listed, Presence, bool | None]:
    """A run, who is at work on it, and whether it is whole."""
    store = Store(below(place, root) if root else place)
    presence, name = Presence(store), root or "."
    try:
        seen = look(store)
        return _of(name, count, seen, store), presence, is_whole(seen)
    except UserError as error:
        return Listed(name, DAMAGED, count, one_line(str(error))), presence, None


def _of(name: str, count: int, seen: Seen, store: Store) -> Listed:
    config, measured = seen.config, summarize(Journal(store))
    pending = {row.arm for row in seen.planned if row.stage == "evaluation" and row.trial not in seen.outcomes}
    whole = {arm: found for arm, found in measured.items() if arm not in pending}
    if learns(config):
        account = read_account(store)
        start, now = whole.get("base"), whole.get(known_arm(account.version)) if account else None
    else:
        after = [found for arm, found in whole.items() if version_of(arm)]
        start, now = whole.get(UNTRAINED), (after[-1] if after else None)
    return Listed(
        name,
        STOPPED,
        count,
        name=f"{config.run.name}, seed {config.run.seed}",
        domain="documents" if learns(config) else config.domain.name.rpartition(":")[2],
        model=config.model.path,
        rounds_done=len(rounds_over(seen)),
        rounds=config.run.rounds,
        start=start,
        now=now,
        started=seen.started,
        last=seen.last,
        tuning=_tuning(seen) if seen.tunes else "",
    )


def _with_states(found: list[tuple[Listed, Presence, bool | None]], wait: Callable[[float], object]) -> list[Listed]:
    """Each run with its state. A lease is watched, for all runs at once, until it is renewed or has run out."""
    present = [presence.look() for _, presence, _ in found]
    while any(at_work is None and not whole for at_work, (_, _, whole) in zip(present, found, strict=True)):
        wait(1.0)
        present = [presence.look() for _, presence, _ in found]
    return [_with_state(listed, whole, at) for (listed, _, whole), at in zip(found, present, strict=True)]


def _with_state(listed: Listed, whole: bool | None, at_work: bool | None) -> Listed:
    if listed.state == DAMAGED:
        return listed
    if at_work:
        return replace(listed, state=RUNNING)
    if whole is None:
        return replace(listed, problem="whether all was measured is not on record")
    return replace(listed, state=FINISHED if whole else STOPPED)


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
