"""The commands that look at runs: what there are, how far one is, how they differ, and what came of one trial."""

from __future__ import annotations

import json

from seal_ray.cli.options import AsJson
from seal_ray.cli.output import say


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
