"""Before a run: a config to start from, what it will take, and whether machine and config go together."""

from __future__ import annotations

import json
import sys
from shlex import quote
from typing import Annotated, Any

from cyclopts import Parameter

from seal_ray.cli.options import AsJson, Overlays, Overrides
from seal_ray.cli.output import say
from seal_ray.errors import writing
from seal_ray.plain import visible
from seal_ray.types import UserError


def init(job: str = "documents", dir: str = ".") -> None:
    """Write a config to start from, with what it needs beside it; every file is yours to edit.

    Parameters
    ----------
    job
        One that ships, such as documents, knowledge, arc or microworld; a name that none has lists them all.
    dir
        The folder to write it into.
    """
    from pathlib import Path

    from seal_ray.cli import shipped

    with writing(dir):
        config, *others = shipped.copy(job, Path(dir))
    beside = f" (beside it: {', '.join(other.name for other in others)})" if others else ""
    say(f"{config}{beside}: edit it, then `seal-ray run {quote(str(config))} --dry-run` says what is missing")


def plan(
    config: str,
    *overrides: Overrides,
    overlay: Overlays = (),
    gpus: int = 0,
    gpu: str = "",
    from_: Annotated[str, Parameter(name="--from")] = "",
    calibrate: bool = False,
    price_per_hour: float | None = None,
    gpus_per_node: int = 8,
    hours_between_losses: float = 0.0,
    replaced_after: float = 300.0,
    as_json: AsJson = False,
) -> None:
    """Predict what a run takes: time by stage, GPU memory, cost, and what holds it up.

    Where neither hardware nor an earlier run is named, it is planned for this machine, as with --calibrate.

    Parameters
    ----------
    config
        A TOML file, such as jobs/knowledge.toml.
    gpus
        How many there will be; 0: as many as the config's workers ask for.
    gpu
        Which, such as h100: its published figures say how long things take.
    from_
        The directory of an earlier run, whose journal says how long things take instead.
    calibrate
        Measure on this machine, for a minute at most, how long things take.
    price_per_hour
        Of one GPU.
    gpus_per_node
        They are lost together.
    hours_between_losses
        Mean time until a given node is lost; 0: none ever is.
    replaced_after
        Seconds until another node is up in its place.
    """
    from seal_ray import config as configs
    from seal_ray.plan import Hardware, predict, show
    from seal_ray.settling import settle

    tree = settle(configs.load(config, overrides, overlay), ask_hub=False).config
    hardware = Hardware(gpus, gpu, gpus_per_node, price_per_hour, hours_between_losses, replaced_after)
    if not (gpus or gpu or from_ or calibrate):
        _must_be_here(tree)
        say("for this machine, on which things are timed first (--calibrate); --gpu and --from take figures instead")
        calibrate = True
    found = predict(tree, hardware, _basis(tree, from_, calibrate))
    if as_json:
        print(json.dumps(show.as_json(found)))
    else:
        show.print_plan(found)


def doctor(config: str = "", *overrides: Overrides, overlay: Overlays = (), as_json: AsJson = False) -> None:
    """Check what a run needs: versions, GPUs, Ray on every node, storage, model, memory. Exit code 2 if it lacks any.

    Parameters
    ----------
    config
        A TOML file; without one, what every run needs.
    """
    from dataclasses import asdict

    from seal_ray import config as configs
    from seal_ray.ops.doctor import examine

    checks = []
    for check in examine(configs.load(config, overrides, overlay) if config else None):
        checks.append(check)
        if not as_json:
            print(visible(check.line), flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    if not all(check.fine for check in checks):
        sys.exit(2)


def _must_be_here(config: Any) -> None:
    """Nobody who asks what a run takes wants its model fetched for that."""
    from seal_ray.model.architecture import model_folder

    folder = model_folder(config.model.path)
    if folder is None or not any(folder.glob("*.safetensors")):
        raise UserError(
            f"model.path {config.model.path!r} is not on this machine, so nothing is timed here unasked; give --gpu "
            "NAME and --gpus N, --from DIR (the journal of an earlier run), or --calibrate, which fetches it"
        )


def _basis(config: Any, earlier: str, calibrate: bool) -> Any:
    """Measured rates, when they are asked for."""
    if earlier:
        from seal_ray.plan.predict import basis_from

        return basis_from(earlier, config)
    if calibrate:
        from seal_ray.observe.progress import progress, start_log
        from seal_ray.plan.probe import calibrate as measure

        start_log()
        return measure(config, progress())
    return None
