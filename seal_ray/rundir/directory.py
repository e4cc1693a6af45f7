"""A run's directory: whose it is, and how another run gets it.

`config.json` says what run lives here; it is there before the first row of the journal, and every segment of the
journal names the run it is of. A directory that holds rows and does not say whose is nobody's to continue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from seal_ray.config import Config, Evaluation, difference, parse
from seal_ray.domains.registry import spelled_out
from seal_ray.model import locate as models
from seal_ray.reading import as_tree
from seal_ray.record.manifest import FOLDER
from seal_ray.record.schema import SCHEMA, brought_up, checked
from seal_ray.record.storage import Store
from seal_ray.rundir.growing import Passages
from seal_ray.rundir.identity import CODE, Identity, differences, settings_of
from seal_ray.types import UserError

CONFIG = "config.json"
TUNED = "tuned.json"
"""Stands where the settings of trials are tuned, and holds what that came to; such a directory is no run."""
_ADVICE = (
    "choose another directory (--run.name or --run.dir; --into), put back what it was started with, or move it aside "
    "(`run`, `learn` and `tune` do with --force)"
)


@dataclass(frozen=True)
class Recorded:
    """What a directory's config.json says."""

    config: Config
    identity: Identity
    run: str
    """What the journal's segments call it; empty for runs of 0.1.0, whose segments name no run."""
    since: int
    """The schema the run was begun with. Its rows keep the keys of that time, so that they are found again."""
    whole: bool
    """Whether contents were recorded; 0.1.0 recorded paths alone."""

    @property
    def commit(self) -> str:
        """The hub's commit that the model was taken from; empty for one that is not from there."""
        name, _, found = self.identity.contents.get("model.path", "").rpartition("@")
        return found if name else ""

    def unlike(self, identity: Identity) -> list[str]:
        """What makes that another run."""
        mine = identity if self.whole else Identity(identity.settings, {}, {})
        lines = differences(self.identity, mine)
        files = [line for line in lines if line.startswith("model.path")]
        if len(files) > 1 and any("the content has changed" not in line for line in files):
            rest = [line for line in lines if line not in files]  # which files those are says nothing to anyone
            return [f"model.path: another model than {self.config.model.path}", *rest]
        return lines


def but_the_seed(differs: Iterable[str]) -> list[str]:
    """Of what makes one run another, all but the seed, and what each is called."""
    return [line for line in differs if not line.startswith(("run.seed:", "run.name:"))]


def recorded(store: Store) -> Recorded | None:
    """What `config.json` says about whose directory this is; None when there is none."""
    if not store.exists(CONFIG):
        return None
    where = f"{store.url}/{CONFIG}"
    try:
        tree: Mapping[str, Any] = json.loads(store.read(CONFIG))
        schema, config = int(tree.get("schema", 1)), tree.get("config")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where}: cannot be read as JSON, so whose run this is is not known") from None
    checked(schema, where)
    if config is None:
        raise UserError(f"{store.url}: holds an imported record, not a run of its own")
    try:
        parsed = parse(brought_up(config, where), where)
        # What the settings result in is worked out again: a setting that is new since then counts with its default.
        said = tree["identity"] if schema > 1 else {}
        identity = Identity(settings_of(parsed), dict(said.get("contents", {})), dict(said.get("decided", {})))
        return Recorded(parsed, identity, tree.get("run", ""), int(tree.get("since", 1)), bool(said.get("contents")))
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise UserError(f"{where}: is not as a run wrote it, so whose run this is is not known") from None


def recorded_config(directory: str) -> Config:
    """The config a run was started with; it lives where it is now, wherever it was begun."""
    found = recorded(Store(directory))
    if found is None:
        raise UserError(f"{directory}: no run is here ({CONFIG} is missing)")
    model = replace(found.config.model, revision=found.commit or found.config.model.revision)
    return replace(found.config, run=replace(found.config.run, dir=directory), model=model)


def refuse_another_base(directory: str) -> None:
    """Say that the base behind the recorded path is not the one that the run's adapters and answers are of."""
    found = recorded(Store(directory))
    if found is None or not found.whole:
        return
    then = {name: what for name, what in found.identity.contents.items() if name.startswith("model.path")}
    now = models.contents(found.config.model.path, found.commit or found.config.model.revision)
    if lines := differences(replace(found.identity, contents=then), replace(found.identity, contents=now)):
        raise UserError(
            f"{directory}: what is here was learnt on another base ({'; '.join(lines)}); put back what was there"
        )


def begun(directory: str) -> Recorded | None:
    """The run that a directory holds; None where it tells of none, or cannot be read, which `claimed` says."""
    try:
        return recorded(Store(directory))
    except UserError:
        return None


@dataclass(frozen=True)
class Claim:
    """A directory held for one run."""

    run: str
    since: int


@contextmanager
def claimed(
    store: Store, config: Config, identity: Identity, force: bool = False, passages: Passages | None = None
) -> Iterator[Claim]:
    """Hold the directory as this config's. Another run found there stops this one, or with `force` is set aside.

    Its own is gone on with, and so is one that had the first of these passages in turn.
    """
    lock = store.lock()
    try:
        wrong = _wrong(store, identity, passages)
        if wrong and force:
            store.set_aside()
            aside, lock = lock, store.lock()
            aside.close()
        elif wrong:
            raise UserError(wrong)
        yield _settle(store, config, identity)
    finally:
        lock.close()


def refuse_another(config: Config, passages: Passages | None = None) -> None:
    """Refuse a directory that holds a run with other settings. What lies behind them is not looked at."""
    if found := living(config.dir):
        settings = settings_of(config.in_precision(found.config.model.dtype))
        same = replace(found.identity, settings=settings)
        lines = difference(dict(found.identity.settings), settings)
        if wrong := _another(Store(config.dir), found, same, passages, lines):
            raise UserError(wrong)


def living(directory: str) -> Recorded | None:
    """The run that a directory holds rows of."""
    return begun(directory) if has_rows(Store(directory)) else None


def has_rows(store: Store) -> bool:
    return any(name.endswith(".parquet") for name in store.walk(FOLDER))


def _wrong(store: Store, identity: Identity, passages: Passages | None) -> str:
    """Why this directory cannot be that run's; empty when it is, or nobody's."""
    if not has_rows(store):
        return ""
    try:
        found = recorded(store)
    except UserError as error:
        return f"{error}; {_ADVICE}"
    if found is None:
        return f"{store.url}: holds a journal and no {CONFIG}, so whose it is is not known; {_ADVICE}"
    return _another(store, found, identity, passages, found.unlike(identity))


def _another(store: Store, found: Recorded, identity: Identity, passages: Passages | None, lines: list[str]) -> str:
    """Why a run that differs by these lines cannot go on here."""
    if lines and passages and found.since > 1 and passages.may_go_on(found.identity, identity):
        reason = passages.refused(store)
        return f"{store.url}: the run cannot go on with other passages: {reason}; {_ADVICE}" if reason else ""
    what = "trials of settings, by `seal-ray tune`," if lines and store.exists(TUNED) else "a run"
    advice = _ADVICE
    if any(line.startswith(CODE) for line in lines):
        advice += f"; `seal-ray run CONFIG --force --beside {quote(store.url)}` begins anew with what stays as it was"
    return f"{store.url}: holds {what} with another config ({'; '.join(lines)}); {advice}" if lines else ""


def _settle(store: Store, config: Config, identity: Identity) -> Claim:
    """Write down whose directory this is, before its first row; and what may change: which methods are measured, and
    how many passages come in turn."""
    found = recorded(store) if store.exists(CONFIG) and has_rows(store) else None
    claim = Claim(found.run, found.since) if found else Claim(identity.name, SCHEMA)
    if found and found.whole:
        asked = {name: getattr(config.evaluation, name) for name in Evaluation.OF_METHODS}
        evaluation = replace(found.config.evaluation, **asked)
        kept = replace(found.config, evaluation=evaluation, generated=config.generated)
        if found.unlike(identity):
            kept = replace(kept, domain=config.domain, continual=config.continual)
        if kept == found.config:
            return claim
        config = kept
    tree = {"schema": SCHEMA, "since": claim.since, "run": claim.run}
    tree |= {"identity": identity.tree(), "config": as_tree(spelled_out(config))}
    store.write(CONFIG, json.dumps(tree, indent=2).encode())
    return claim
