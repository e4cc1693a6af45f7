"""Which commit a name on the Hugging Face hub stands for: a branch moves on, a commit stays what it is.

A run takes its models and datasets from the commit it was begun with, on every worker and after every restart.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seal_ray.plain import first_line
from seal_ray.types import UserError

logger = logging.getLogger(__name__)

DATASET = "hf:"
"""What the name of a dataset begins with where a file or folder could stand as well."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 10.0


def commit(name: str, revision: str | None, setting: str, kind: str = "model") -> str:
    """The commit of a model or dataset, as the hub says, or where that does not answer, this machine's cache."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    import huggingface_hub as hub
    from huggingface_hub import errors

    api = hub.HfApi()
    ask: Callable[..., Any] = api.model_info if kind == "model" else api.dataset_info
    where = f"{setting} {name!r}"
    try:
        return str(ask(name, revision=revision, timeout=_SECONDS).sha)
    except errors.RevisionNotFoundError:
        raise UserError(f"{where}: the hub has no revision {revision!r} of it") from None
    except errors.GatedRepoError:
        raise UserError(f"{where}: the hub gives it only to those it let in; ask there, and set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{where}: neither here nor on the hub, or private there (HF_TOKEN says who you are)") from None
    except errors.HFValidationError as error:
        raise UserError(f"{where}: no name of the hub: {first_line(error)}") from None
    except Exception as error:  # no network, a proxy, a hub in trouble: each library has its own
        found = _cached(name, revision, kind)
        if found is None:
            raise UserError(
                f"{where}: the hub does not answer, and it is not on this machine: {first_line(error)}"
            ) from None
        logger.warning("%s: the hub does not answer; taken from this machine's cache, commit %s", where, found[:8])
        return found


class NotOnThisMachine(UserError):
    """What only the hub could tell, where it was not to be asked."""


def small_file(name: str, revision: str | None, file: str, ask: bool = True) -> Path | None:
    """A small file of a hub's model, from this machine's cache or fetched into it; None where it has no such file."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    cached = hub.try_to_load_from_cache(name, file, revision=revision)
    if cached is not None:
        return Path(cached) if isinstance(cached, str) else None  # the cache also knows what is not there
    here = isinstance(hub.try_to_load_from_cache(name, "tokenizer_config.json", revision=revision), str)
    if not ask and not here:
        raise NotOnThisMachine(f"model.path {name!r} is not in this machine's cache, and the hub was not asked")
    try:
        return Path(hub.hf_hub_download(name, file, revision=revision, etag_timeout=_SECONDS)) if ask else None
    except Exception as error:  # as above
        missing = isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError)
        if missing or here:
            return None  # what comes with it is here, and it is not
        raise UserError(f"model.path {name!r}: the hub does not give its {file}: {first_line(error)}") from None


def dataset_parts(source: str) -> tuple[str, str | None, str]:
    """`hf:NAME@REVISION#SPLIT` as name, revision and split; the last two may be left out."""
    whole, _, split = source.removeprefix(DATASET).partition("#")
    name, _, revision = whole.partition("@")
    return name, revision or None, split or "train"


def pinned_dataset(source: str, setting: str) -> str:
    """A dataset's source with the commit that its branch or tag stands for now."""
    name, revision, split = dataset_parts(source)
    return f"{DATASET}{name}@{commit(name, revision, setting, 'dataset')}#{split}"


def _cached(name: str, revision: str | None, kind: str) -> str | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, local_files_only=True)).name
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
