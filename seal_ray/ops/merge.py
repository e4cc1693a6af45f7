"""Several adapters of one base, of a run or in folders, made one that adds what all of them do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from seal_ray.adapters.lora import CONFIG_FILE, Adapter
from seal_ray.adapters.merge import total
from seal_ray.ops.export import whole, write_adapter
from seal_ray.policy.catalogue import Held, contents, find
from seal_ray.policy.foreign import adapter_from
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import recorded_config
from seal_ray.types import AdapterRef, UserError

logger = logging.getLogger(__name__)


def merge_adapters(directory: str, held: Sequence[Held], names: Sequence[str], out: str) -> int:
    """Write the exact sum of these adapters as a PEFT folder; returns its rank. A name may be that of a PEFT folder."""
    config, store = recorded_config(directory), Store(directory)
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UserError(f"{twice}: is named twice, and would count twice; name each adapter once")
    folders = {name: Path(name) for name in names if (Path(name) / CONFIG_FILE).is_file()}
    mine = {name: find(directory, held, name) for name in names if name not in folders}
    _once(held, list(mine.values()))
    parts = {name: mine[name].load(store) if name in mine else adapter_from(folders[name], config) for name in names}
    _must_fit(parts)
    summed, _ = total(parts.values())
    if summed is None:
        raise UserError("nothing to merge: name adapters, as `seal-ray adapters list` does")
    with whole(out) as folder:
        write_adapter(directory, summed, folder)
    return summed.rank


def _once(held: Sequence[Held], mine: Sequence[Held]) -> None:
    """Refuse what would count twice; say where a lesson was learnt on top of what is not in the sum."""
    met: dict[str, str] = {}
    for each in mine:
        for part in sorted(contents(held, each)):
            if part in met:
                raise UserError(f"{each.name}: {part} is in it and in {met[part]}, and would count twice; name one")
            met[part] = each.name
    for each in mine:
        below = next((known for known in held if each.kind == "lesson" and known.name in each.parents), None)
        if below and not contents(held, below) <= met.keys():
            logger.warning("%s was learnt on top of %s, and not all of that is in the sum", each.name, below.name)


def _must_fit(parts: dict[str, Adapter]) -> None:
    """Refuse adapters of models of unlike shapes, whatever their bases are called; and one under two names."""
    met: dict[str, tuple[tuple[int, int], str]] = {}
    called: dict[AdapterRef, str] = {}
    for name, adapter in parts.items():
        if (other := called.setdefault(adapter.ref, name)) != name:
            raise UserError(f"{name}: is the same adapter as {other}, and would count twice; name one")
        for module in adapter.modules:
            down, up = adapter.pair(module)
            shape = down.shape[1], up.shape[0]
            first, other = met.setdefault(module, (shape, name))
            if first != shape:
                raise UserError(f"{name}: {module} is {shape} there and {first} in {other}; merge those of one base")
