"""The tables of a check, in Markdown, as `docs/benchmarks.md` has them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from seal_ray.record.summary import Interval, cells, doubts


def tables(check: dict[str, Any], parts: Sequence[str]) -> str:
    """What is on record of a check, of these parts."""
    kind = "a rehearsal: its figures say nothing" if check["rehearsed"] else check.get("date", "")
    where = f", commit {check['commit']}" if check["commit"] else ""
    lines = [f"{check['device']}, {kind} (torch {check['torch']}, code {check['code'][:8]}{where})"]
    for part in parts:
        found = {name: piece["found"] for name, piece in check["parts"].get(part, {}).items()}
        lines += ["", *_LINES[part](found)] if found else []
    return "\n".join(lines)


def _equality(found: dict[str, Any]) -> Iterator[str]:
    yield from _head("", "precision", "steps", "loss, from PEFT's", "mean", "adapter, from PEFT's", "allowed", "right")
    for name, piece in found.items():
        rows = [piece["trained"]] if "trained" in piece else piece.get("trainings", ())
        for row in rows:
            figures = [_short(row[key]) for key in ("loss", "mean_loss", "adapter")]
            most = ", ".join(map(_short, row["allowed"] or ()))
            yield _row(name, row["dtype"], row["steps"], *figures, most, _verdict(row["right"]))
    yield ""
    yield from _head("", "precision", "log-probability, from alone", "answers", "other text in company", "first token")
    for name, piece in found.items():
        if flips := piece.get("flips", piece if "flipped" in piece else None):
            share = f"{flips['flipped']} ({flips['flipped'] / flips['answers']:.0%})"
            yield _row(name, flips["dtype"], _short(piece.get("nats")), flips["answers"], share, flips["first"])

    yield ""
    yield from _head("rows of unlike lengths", "kernel", "from padded", "allowed", "right")
    for piece in found.values():
        for row in piece.get("unpadded", ()):
            kernel = "taken" if row["used"] else "none"
            yield _row(row["what"], kernel, _short(row["apart"]), _short(row["allowed"]), _verdict(row["right"]))


def _speed(found: dict[str, Any]) -> Iterator[str]:
    ways = [piece for piece in found.values() if "variant" in piece]
    rates = {(piece["model"], piece["variant"]): piece["trials_per_s"] for piece in ways}
    names = "trials/s", "tokens/s", "of the matmul peak", "memory", "a slot", "by the formula", "× published", "× PEFT"
    yield from _head("", "", *names)
    for piece in ways:
        model, rate = piece["model"], piece["trials_per_s"]
        beside = [rates.get((model, other)) for other in ("published", "peft")]
        yield _row(
            f"{model} ({piece['parameters'] / 1e6:,.0f} M)",
            piece["variant"],
            _short(rate),
            f"{piece['tokens_per_s']:,.0f}",
            f"{piece['flops_share']:.1%}",
            _mib(piece["peak_bytes"]),
            _mib(piece.get("slot_bytes")),
            _mib(piece.get("slot_bytes_by_formula")),
            *(f"{rate / other:.1f}" if other else "" for other in beside),
        )
    for peak, trial in {(piece["matmul_flops_per_s"], piece["trial"]) for piece in ways[:1]}:
        yield ""
        yield f"A trial: {trial}. Matrices multiplied at {peak / 1e12:,.1f} TFLOP/s in the process that began this."
    yield ""
    yield from _head("", "texts at once", "prompt", "new tokens", "texts/s", "tokens/s")
    for piece in found.values():
        if "texts_per_s" in piece:
            sizes = piece["texts"], piece["prompt_tokens"], piece["new_tokens"]
            yield _row(piece["model"], *sizes, _short(piece["texts_per_s"]), f"{piece['tokens_per_s']:,.0f}")
    for piece in (piece for piece in found.values() if "unpadded" in piece):
        yield ""
        yield from _head("rows of unlike lengths", "kernel", "ms as they lie", "ms padded", "padded takes")
        for row in piece["unpadded"]:
            each = [1e3 * row[key] for key in ("seconds", "padded_seconds")]
            kernel = "taken" if row["used"] else "none"
            yield _row(row["what"], kernel, *map(_short, each), f"{each[1] / each[0]:.2f} ×")
        yield ""
        yield f"A layer's, of {piece['size']}."


def _paper(found: dict[str, Any]) -> Iterator[str]:
    for piece in found.values():
        yield from _head("held-out accuracy", "mean", "95 % interval", "tasks", "failed trials")
        summary = {arm: _interval(figures) for arm, figures in piece["arms"].items()}
        for arm, measured in summary.items():
            yield _row(arm, *cells(measured))
        yield from ("", *doubts(summary))
        size, minutes = piece["size"], piece["minutes"]
        of = f"{size['passages']} passages × {size['candidates']} × {size['seeds']}, {size['rounds']} rounds"
        each = minutes["trial"] / piece["trials"] if piece["trials"] else math.nan
        yield (
            f"{of}: {piece['trials']:,} trials trained on {piece['trained_tokens']:,} tokens. The GPU had work for "
            f"{piece['gpu_minutes']:.1f} minutes: {minutes['trial']:.1f} with trials, {minutes['sample']:.1f} with "
            f"self-edits, {minutes['update']:.1f} with updates, which overlap. At that rate the {piece['a_round']:,} "
            f"trials of a round take {each * piece['a_round']:.1f} minutes."
        )


def _interval(figures: dict[str, Any]) -> Interval:
    """As it was measured; JSON has null where nothing was."""
    numbers = {key: math.nan if figures[key] is None else figures[key] for key in ("accuracy", "low", "high")}
    return Interval(**figures | numbers)


_LINES = {"equality": _equality, "speed": _speed, "paper": _paper}


def wrong(check: dict[str, Any]) -> list[str]:
    """The pieces in which the bank is not what it is held to."""
    found = []
    for name, piece in check["parts"].get("equality", {}).items():
        held = piece["found"]
        rows = [held, *held.get("trainings", ())]
        if any(row.get("right") is False for row in rows):
            found.append(name)
    return found


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size / 2**20:,.1f} MiB"


def _verdict(right: bool | None) -> str:
    return "" if right is None else "yes" if right else "**no**"
