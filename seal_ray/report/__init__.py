"""Pictures and tables of a run: one self-contained HTML page.

write_report("runs/demo-1")   # -> "…/runs/demo-1/report.html"
"""

from __future__ import annotations

from seal_ray.record.storage import Store, below
from seal_ray.types import UserError

PAGE = "report.html"


def write_report(dir: str) -> str:
    """Write a run's page into its directory, local or in object storage, and return the page's path.

    An unfinished run gets a page too, which says what is missing. The same journal gives the same bytes.
    """
    from seal_ray.report.data import read_run
    from seal_ray.report.page import render
    from seal_ray.rundir.tuned import refuse_tuned

    store = Store(dir)
    if not (store.exists("config.json") or store.exists("journal")):
        raise UserError(f"{dir}: no run is here (config.json is missing)")
    refuse_tuned(dir)
    store.write(PAGE, render(read_run(dir)).encode())
    return str(store.local / PAGE) if store.local else below(dir, PAGE)
