"""The commands for the adapters that a run holds: listed, shown, summed, exported, and one lesson taken out again."""

from __future__ import annotations

import json

from cyclopts import App

from seal_ray.cli.models import refuse_taken
from seal_ray.cli.options import AsJson, Quiet
from seal_ray.cli.output import lines, say, width
from seal_ray.errors import writing
from seal_ray.plain import counted

adapters = App(
    name="adapters",
    help="Adapters that a run holds, or what was learnt of documents: list, show, merge, export, and retract a lesson.",
)


@adapters.command(name="list")
def list_(dir: str, *, as_json: AsJson = False) -> None:
    """List every adapter: what it is, what it stands on, its shape, accuracy before and after it, size.

    Parameters
    ----------
    dir
        A run, or where documents were learnt.
    """
    from seal_ray.looking.held import Shelf, table

    shelf = Shelf(dir)
    found = shelf.told()
    if as_json:
        lines([json.dumps({"adapters": [each.as_json() for each in found], "bytes": shelf.bytes()})])
    elif found:
        lines(table(found, shelf.bytes(), width()))
        for damage in dict.fromkeys(each.damage for each in found if each.damage):
            say(damage)
    else:
        say(f"{dir}: no adapter is here yet")


@adapters.command
def show(dir: str, name: str, *, as_json: AsJson = False) -> None:
    """Say everything about one adapter: its lineage from the base, its shape, and the self-edits it was trained on.

    Parameters
    ----------
    name
        As `list` says it, or its beginning where no other's begins so.
    """
    from seal_ray.looking import held as seen
    from seal_ray.policy.catalogue import find

    shelf = seen.Shelf(dir)
    told = shelf.tell(find(dir, shelf.held, name))
    lines([json.dumps(seen.show_json(shelf, told))] if as_json else seen.lines(shelf, told))


@adapters.command
def merge(dir: str, *names: str, into: str, force: bool = False) -> None:
    """Write the exact sum of several adapters as a PEFT folder.

    Parameters
    ----------
    names
        As `list` says them; or PEFT folders of the same base.
    into
        The folder.
    force
        Write over what is there.
    """
    from seal_ray.ops.merge import merge_adapters
    from seal_ray.policy.catalogue import catalogue_of

    refuse_taken(into, force)
    with writing(into):
        rank = merge_adapters(dir, catalogue_of(dir), names, into)
    say(f"{counted(len(names), 'adapter')}, of rank {rank} together: {into}")


@adapters.command
def export(dir: str, name: str, *, into: str, force: bool = False) -> None:
    """Write one adapter as a PEFT folder with its tokenizer and a model card.

    Parameters
    ----------
    name
        As `list` says it.
    into
        The folder.
    force
        Write over what is there.
    """
    from seal_ray.ops.export import export_held
    from seal_ray.policy.catalogue import catalogue_of, find

    refuse_taken(into, force)
    held = find(dir, catalogue_of(dir), name)
    with writing(into):
        export_held(dir, held, into)
    say(f"{held.name}: {into}")


@adapters.command
def retract(dir: str, name: str, *, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Take what one passage taught out of its sequence again, and ask of all passages what that changed.

    The run's record stays; what is left is a policy of its own, which `export --policy` takes. Stopped, it goes on.

    Parameters
    ----------
    name
        A lesson, as `list` says it.
    """
    from seal_ray.looking import taken_out
    from seal_ray.loop.retract import retract as take_out
    from seal_ray.observe.progress import progress, start_log
    from seal_ray.policy.catalogue import catalogue_of, find

    start_log(quiet)
    found = take_out(dir, find(dir, catalogue_of(dir), name), progress(quiet))
    lines([json.dumps(taken_out.as_json(found))] if as_json else taken_out.lines(dir, found))
