"""Learn documents into a directory, or go on with it, or say that nothing is to be done.

from seal_ray import learn

model = learn(["notes.md"], model="HuggingFaceTB/SmolLM2-135M-Instruct")
print(model.ask("Who lit the lanterns?"))
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from seal_ray.adapters.lora import Adapter
from seal_ray.config import Config, adjusted
from seal_ray.domains.knowledge.studied import Studied
from seal_ray.domains.registry import learns, load_domain
from seal_ray.errors import writing
from seal_ray.events import Observer
from seal_ray.learning.account import account_of
from seal_ray.learning.by_method import check_method, method_of, said_of
from seal_ray.learning.clashes import clashes, told
from seal_ray.learning.documents import Documents, keys_of, known_documents, read_documents
from seal_ray.learning.settings import DEFAULT_MODEL, DOCUMENTS, PLACE, TEXTS, at_its_rate, config_for
from seal_ray.learning.study import Study
from seal_ray.loop.preflight import check, precise, resolved
from seal_ray.loop.session import open_run
from seal_ray.model.architecture import check_targets
from seal_ray.model.locate import on_hub
from seal_ray.ops.export import export_adapter, refuse_unnameable, remove_parts
from seal_ray.plain import counted
from seal_ray.record.account import Account, read_account
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import begun, recorded_config
from seal_ray.rundir.identity import Identity, identify
from seal_ray.serving.answering import ADAPTER, Answerer
from seal_ray.types import UserError

logger = logging.getLogger(__name__)


def learn(
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    model: str = "",
    into: str | os.PathLike[str] = "",
    *observers: Observer,
    settings: Sequence[str] = (),
    force: bool = False,
    method: str = "",
    texts: int = 0,
) -> Answerer:
    """Have a model learn documents, and give back the model that knows them.

    `settings` are those of a run, as on the command line. Documents that were learnt already are not learnt again. What
    was learnt there with other settings or on another model is moved aside with `force`, and refused without.
    A `method` is one of those of `seal-ray methods`, with so many `texts` of each passage; without one documents are
    learnt as the directory was before, or in `learn`'s own way.
    """
    directory, _ = learnt(files, model, into, *observers, settings=settings, force=force, method=method, texts=texts)
    return Answerer.of(directory)


def learnt(
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    model: str = "",
    into: str | os.PathLike[str] = "",
    *observers: Observer,
    settings: Sequence[str] = (),
    say: Callable[[str], None] = logger.info,
    force: bool = False,
    method: str = "",
    texts: int = 0,
) -> tuple[str, Account]:
    """The directory in which these documents are known, and what is known of them.

    `say` is given a line before the work begins: what is learnt, and with which model.
    """
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    refuse_unnameable(directory := _directory(given, os.fspath(into)))
    with tempfile.TemporaryDirectory() as scratch:
        documents = read_documents(given, Path(scratch))
        method, texts = _way(directory, method, texts)
        config = _settled(config_for(directory, model or _model_of(directory), settings, method, texts))
        return directory, _study(at_its_rate(config, settings), documents, observers, say, force)


def continued(
    directory: str, *observers: Observer, settings: Sequence[str] = (), say: Callable[[str], None] = logger.info
) -> Account:
    """Go on with what a directory was learning, with the documents that it holds; other workers may be given."""
    config, place = adjusted(recorded_config(directory), settings), Path(directory).absolute() / DOCUMENTS
    options = {**config.domain.options, "train": str(place)}  # it may have been moved since
    config = replace(config, domain=replace(config.domain, options=options))
    return _study(_settled(config), known_documents(place), observers, say)


def _settled(config: Config) -> Config:
    """The config with nothing left to the model but the precision; `UserError` where it names what cannot be used."""
    check_method(config)
    check(config)
    check_targets(config, updates=True)
    return resolved(config)


def _study(
    config: Config,
    documents: Documents,
    observers: Sequence[Observer],
    say: Callable[[str], None],
    force: bool = False,
) -> Account:
    """Learn, unless that was done; `UserError` before the directory is touched."""
    domain = cast(Studied, load_domain(config))
    method_of(config, domain)  # which the domain may not allow
    config = precise(config, domain, force)
    identity, store = identify(config, domain), Store(config.dir)
    by = said_of(config)
    if (known := read_account(store)) and known.method == by and _is_known(store, known, documents, identity):
        say(f"{config.dir}: these documents are known already; nothing is to be done")
        return known
    say(_plan(config, documents))
    for line in told(clashes(documents.file)):
        say(line)
    with open_run(config, domain, identity, observers, force) as opened:
        documents.move_to(opened.store, DOCUMENTS)
        study = Study(domain)
        first = domain.tasks("train", 1, config.run.seed)[0]
        opened.drive(study.body, probe=domain.prompt(first))
        opened.journal.flush()
        account = account_of(study, opened.journal, documents.key, documents.words, identity.name, by)
        account.save(store)  # before the folder, whose card says it
        with writing(folder := str(Path(config.dir) / ADAPTER)):
            remove_parts(folder)
            export_adapter(config.dir, folder, str(account.version))
    return account


def _plan(config: Config, documents: Documents) -> str:
    """What is about to be learnt: how much of it is new here, with which model, and where that comes from."""
    place = Path(config.dir) / DOCUMENTS
    before, now = (keys_of(file) if file.is_file() else set() for file in (place, documents.file))
    new = f", {len(now - before)} of them new and {len(before - now)} no longer there" if before else ""
    model = config.model.path
    hub = " (from the hub; what is not on this machine is downloaded)" if on_hub(model) else ""
    by = f", by {method}" if (method := said_of(config)) else ""
    size = f"{counted(documents.passages, 'passage')} of {counted(documents.words, 'word')}"
    return f"learning {size}{new}, with {model}{hub}{by}"


def _is_known(store: Store, known: Account, documents: Documents, identity: Identity) -> bool:
    """Whether just this was learnt here to its end, and is still whole."""
    if (known.documents, known.settings) != (documents.key, identity.name):
        return False
    with suppress(UserError):
        return Adapter.load(Path(store.url) / ADAPTER).ref.key == known.adapter
    return False


def _directory(files: Sequence[str | os.PathLike[str]], into: str) -> str:
    if "://" in into:
        raise UserError(f"--into {into}: documents are learnt into a folder of this machine")
    if into:
        return into
    name = Path(files[0]).absolute().stem if files else "nothing"
    return str(Path(PLACE) / name)


def _model_of(directory: str) -> str:
    """The model that a directory was begun with, or the one that is taken where none is named."""
    found = begun(directory)
    return found.config.model.path if found else DEFAULT_MODEL


def _way(directory: str, method: str, texts: int) -> tuple[str, int]:
    """By which method, and with how many texts: as it is said, or as the directory was learnt before."""
    found = begun(directory)
    before = found.config.evaluation if found and learns(found.config) else None
    if not method and before and before.methods:
        return before.methods[0], texts or before.texts[0]
    if texts and not method:
        raise UserError(f"--texts {texts}: is how many a method has written; name one with --method, such as spa")
    return method, texts or TEXTS
