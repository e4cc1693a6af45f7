"""A prediction as a person reads it, and as a program does."""

from __future__ import annotations

from typing import Any

from seal_ray.plain import counted, visible
from seal_ray.plan.predict import Prediction


def as_json(found: Prediction) -> dict[str, Any]:
    course, cluster, work = found.course, found.cluster, found.course.work
    tree: dict[str, Any] = {
        "seconds": round(found.seconds, 1),
        "stages": [
            {"stage": s.name, "pieces": s.pieces, "start": round(s.start, 1), "seconds": round(s.seconds, 1)}
            for s in course.stages
        ],
        "start_seconds": round(found.rates.start, 1),
        "trials": work.trials,
        "self_edits": work.texts,
        "tokens_sampled": round(work.tokens_sampled),
        "tokens_trained": round(work.tokens_trained),
        "busy_seconds": {"trainers": round(course.training, 1), "samplers": round(course.sampling, 1)},
        "workers": {
            "trainers": cluster.trainers,
            "samplers": cluster.samplers,
            "trainers_used": course.trainers,
            "samplers_used": course.samplers,
        },
        "gpus": found.gpus,
        "gpu_hours": round(found.gpu_hours, 3),
        "memory_bytes": {"trainer": found.memory.trainer, "sampler": found.memory.sampler},
        "device_bytes": round(found.device_bytes),
        "fits": found.fits,
        "bottleneck": found.bottleneck,
        "cost": _rounded(found.cost(course)),
        "assumptions": list(found.assumptions),
    }
    if found.disturbed:
        tree["with_losses"] = {
            "seconds": round(found.disturbed.seconds, 1),
            "added_share": round(found.disturbed.seconds / found.seconds - 1, 4),
            "nodes_lost": found.disturbed.losses,
            "calls_repeated": found.disturbed.repeated,
            "cost": _rounded(found.cost(found.disturbed)),
        }
    return tree


def print_plan(found: Prediction) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    course, console = found.course, Console(highlight=False)
    busy = "of trainers and samplers: the share of their time that they are busy meanwhile"
    table = Table("stage", "from", "time", "trainers", "samplers", show_edge=False, pad_edge=False, caption=busy)
    for stage in course.stages:
        training = _share(stage.training, stage.seconds * course.trainers)
        sampling = _share(stage.sampling, stage.seconds * course.samplers)
        table.add_row(escape(visible(stage.name)), _time(stage.start), _time(stage.seconds), training, sampling)
    table.add_row("whole run", "", _time(found.seconds), "", "", style="bold")
    console.print(table)
    for line in _facts(found):
        console.print(escape(visible(line)))
    console.print("taken for granted:", *(escape(visible(f"\n  {line}")) for line in found.assumptions))


def _facts(found: Prediction) -> list[str]:
    course, cluster, work = found.course, found.cluster, found.course.work
    lines = [
        f"work: {work.texts:,} texts of {work.tokens_sampled:,.0f} tokens, "
        f"{work.trials:,} trials that train on {work.tokens_trained:,.0f} tokens",
        f"workers: {counted(cluster.trainers, 'trainer')} and {counted(cluster.samplers, 'sampler')}, "
        f"of which the queues ask for {course.trainers} and {course.samplers}; up after {_time(found.rates.start)}",
        f"bottleneck: {found.bottleneck}",
    ]
    for name, held in (("trainer", found.memory.trainer), ("sampler", found.memory.sampler)):
        if held:
            parts = ", ".join(f"{what} {readable_bytes(size)}" for what, size in held.items())
            lines.append(f"memory of a {name}: {readable_bytes(sum(held.values()))} ({parts})")
    if found.device_bytes and not found.fits:
        room = readable_bytes(found.device_bytes)
        less = "fewer slots, a base in fewer bits (model.quantization), or a larger GPU"
        lines.append(f"that is more than the device's {room}: take {less}")
    if found.gpus:
        lines.append(f"GPU hours: {found.gpu_hours:.2f} ({counted(found.gpus, 'GPU')} for as long as the run lasts)")
    if found.price_per_hour is not None:
        lines.append(f"cost: {found.cost(course):.2f}, at {found.price_per_hour:g} for each GPU hour")
    if found.disturbed:
        lines.append(_losses(found))
    return lines


def _losses(found: Prediction) -> str:
    assert found.disturbed
    slow = found.disturbed
    line = (
        f"with nodes lost: {slow.losses} losses, {slow.repeated} calls done again, {_time(slow.seconds)} "
        f"({slow.seconds / found.seconds - 1:+.1%})"
    )
    before, after = found.cost(found.course), found.cost(slow)
    return line if before is None or after is None else f"{line}, costing {after - before:.2f} more"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else ""


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def readable_bytes(size: float) -> str:
    """A size in memory, in the unit that suits it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _rounded(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 2)
