"""The commands that look at runs: what there are, how far one is, how they differ, and what came of one trial."""

from __future__ import annotations

import json
import sys

from seal_ray.cli.options import AsJson
from seal_ray.cli.output import say
from seal_ray.plain import visible
from seal_ray.types import UserError


def ls(dir: str = "runs", *, as_json: AsJson = False) -> None:
    """List the runs below a folder or a URL: state, rounds, held-out accuracy at the start and now, size.

    Parameters
    ----------
    dir
        A folder, or `s3://`, `gs://`.
    """
    from seal_ray.looking.listing import lines, runs_below

    found = runs_below(dir)
    if as_json:
        print(json.dumps([each.as_json() for each in found]))
    elif found:
        print("\n".join(lines(found)))
    else:
        say(f"{dir}: no run is here, nor below")


def watch(dir: str, *, once: bool = False) -> None:
    """Follow a run from beside until it ends: stages, rewards, losses, what is waited for, how long is left.

    On a terminal the picture is drawn again and again, elsewhere what is new is said line by line.

    Parameters
    ----------
    once
        Only show how it is now.
    """
    from seal_ray.looking.screen import shown
    from seal_ray.looking.watching import Watch, follow

    if once:
        print("\n".join(Watch(dir).picture().lines()))
    else:
        shown(follow(dir, 10.0 if "://" in dir or not sys.stdout.isatty() else 2.0))


def compare(dir: str, *others: str, as_json: AsJson = False) -> None:
    """Hold runs to the first one, of whatever configs: settings, held-out accuracy, differences by task, rewards.

    Parameters
    ----------
    others
        The runs that are held to it. Seeds of one config, whose tasks are to be taken together, are for `eval`.
    """
    from seal_ray.looking import comparison
    from seal_ray.looking.comparing import compare as compared

    found = compared((dir, *others))
    print(json.dumps(comparison.as_json(found)) if as_json else visible("\n".join(comparison.lines(found))))


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
        raise UserError(f"{dir}: no trial's key begins with {trial!r}; `seal-ray explain {dir}` lists all")
    if not trial or len(found) > 1:
        print("\n".join(explanation.listed(found, seen.outcomes)))
        if trial:
            raise UserError(f"{dir}: the keys of {len(found)} trials begin with {trial!r}; give more of one")
        return
    (key,) = found
    known = explained(dir, key)
    tree = explanation.as_json(dir, known)
    if not as_json:
        print("\n".join(explanation.lines(dir, known)))
    if again:
        from seal_ray.looking.again import again as done_again
        from seal_ray.observe.progress import start_log

        start_log(quiet=True)
        result = done_again(dir, known)
        tree["same"] = result.same
        if not as_json:
            print("\n".join(map(visible, result.lines())))
    if as_json:
        print(json.dumps(tree))
