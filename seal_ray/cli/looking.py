"""The commands that look at runs: what there are, how far one is, how they differ, and what came of one trial."""

from __future__ import annotations

import json
import sys
from shlex import quote
from typing import TYPE_CHECKING

from seal_ray.cli.options import AsJson
from seal_ray.cli.output import lines, say, width
from seal_ray.plain import WIDTH, visible
from seal_ray.types import UserError

if TYPE_CHECKING:
    from seal_ray.looking.again import Again
    from seal_ray.looking.explained import Explained


def ls(dir: str = "runs", *, as_json: AsJson = False) -> None:
    """List the runs below a folder or a URL: state, rounds, held-out accuracy at the start and now, size.

    Parameters
    ----------
    dir
        A folder, or `s3://`, `gs://`.
    """
    from seal_ray.looking.listing import runs_below, table

    found = runs_below(dir)
    if as_json:
        lines([json.dumps([each.as_json() for each in found])])
    elif found:
        lines(table(found, width()))
    else:
        say(f"{dir}: no run is here, nor below")


def watch(dir: str, *, once: bool = False, web: bool = False, port: int = 8765) -> None:
    """Follow a run from beside until it ends: stages, rewards, losses, what is waited for, how long is left.

    On a terminal the picture is drawn again and again, elsewhere what is new is said line by line.

    Parameters
    ----------
    once
        Only show how it is now.
    web
        Serve its report on this machine, live, until Ctrl-C.
    port
        Of that page; 0 takes a free one.
    """
    from seal_ray.looking.screen import shown
    from seal_ray.looking.watching import Watch, follow

    if web and once:
        raise UserError("--web goes on until Ctrl-C, and --once looks a single time: give one of them")
    if web:
        from seal_ray.looking.web import serve

        serve(dir, port, say)
    elif once:
        lines(Watch(dir).picture().lines())
    else:
        shown(follow(dir, 10.0 if "://" in dir or not sys.stdout.isatty() else 2.0))


def compare(dir: str, *others: str, seeds: bool = False, as_json: AsJson = False) -> None:
    """Hold runs to the first one, of whatever configs: settings, held-out accuracy, differences by task, rewards.

    Parameters
    ----------
    others
        The runs that are held to it.
    seeds
        Take runs together that differ in nothing but their seed, and hold each to that of the same seed.
    """
    from seal_ray.looking import comparison
    from seal_ray.looking.comparing import compare as compared

    found = compared((dir, *others), seeds)
    said = comparison.lines(found, width() or WIDTH)
    lines([json.dumps(comparison.as_json(found))] if as_json else map(visible, said))


def explain(dir: str, trial: str = "", *, again: bool = False, as_json: AsJson = False) -> None:
    """Say all that is known of one trial, or list the trials of a run.

    Parameters
    ----------
    trial
        The beginning of its key, as much as no other's begins with; without one, every trial is listed.
    again
        Also do it again, alone in this process, and say whether reward and answers come out the same.
    """
    from seal_ray.looking import explanation
    from seal_ray.looking.explained import explain as explained
    from seal_ray.looking.seen import look
    from seal_ray.record.storage import Store

    seen = look(Store(dir))
    found = seen.trials(trial)
    if trial and not found:
        raise UserError(f"{dir}: no trial's key begins with {trial!r}; `seal-ray explain {quote(dir)}` lists all")
    if again and not trial:
        raise UserError("--again does one trial again: give the beginning of its key")
    if len(found) != 1 or not trial:
        rows = explanation.rows(found, seen.outcomes)
        lines([json.dumps(rows)] if as_json else explanation.table(rows, width()))
        if not rows:
            say(f"{dir}: no trial is on record yet")
        if trial:
            raise UserError(f"{dir}: the keys of {len(found)} trials begin with {trial!r}; give more of one")
        return
    known = explained(dir, *found)
    if not as_json:
        lines(explanation.lines(dir, known))
    result = _again(dir, known) if again else None
    if as_json:
        tree = explanation.as_json(dir, known)
        lines([json.dumps(tree | {"same": result.same} if result else tree)])
    elif result:
        lines(map(visible, result.lines()))


def _again(dir: str, known: Explained) -> Again:
    from seal_ray.looking.again import again
    from seal_ray.observe.progress import start_log

    start_log(quiet=True)
    return again(dir, known)
