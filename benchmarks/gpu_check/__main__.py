"""The command. What it needs beside torch is imported when it is needed, and nothing of it is a command line's."""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gpu_check import weights
from benchmarks.gpu_check.record import ROOT, Record, Subject, code
from benchmarks.gpu_check.scale import FULL, LITTLE, REHEARSAL, Experiment, Scale
from seal_ray.errors import said_in_one_line
from seal_ray.types import UserError

PARTS = ("equality", "speed", "paper")
PASSAGES = ROOT / "jobs/passages.jsonl"


@dataclass(frozen=True)
class Given:
    """What the command was given, all of it there."""

    parts: Sequence[str]
    out: Path
    model: str
    data: str
    scale: Scale
    size: Experiment
    device: str

    @property
    def folder(self) -> Path:
        """Where what lies beside the record is kept."""
        return self.out.absolute().with_suffix("")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description="Measure this machine's GPU.")
    made.add_argument("--part", action="append", choices=PARTS, help="one of the parts, or several; without it, all")
    made.add_argument("--model", default="", metavar="PATH", help="a model's folder, GGUF file, or folder of pieces")
    made.add_argument("--data", default="", metavar="FILE", help="passages with questions, such as SQuAD's JSON file")
    made.add_argument("--out", default="gpu-check.json", metavar="FILE", help="what was measured, and is not again")
    made.add_argument("--rehearse", action="store_true", help="all of it in miniature, on the processor")
    made.add_argument("--minutes", type=float, default=0, help="stop after so many; the same command goes on")
    for name, value in vars(Experiment()).items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"of the paper's: {value}")
    made.add_argument("--split", default="", metavar="PATH", help="cut a file, or a folder's, into pieces of 50 MB")
    made.add_argument("--into", default="", metavar="FOLDER", help="where the pieces go")
    made.add_argument("--convert", action="store_true", help="make a model's folder of a GGUF file before it is split")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Split weights, or do the parts that are asked for and print their tables."""
    given = parser().parse_args(argv)
    with said_in_one_line(when_stopped="stopped; the same command goes on"):
        if given.split:
            _split(given.split, given.into, given.convert)
            return
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is asked of the hub
        if given.rehearse:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of this process: the card is left alone
        if given.minutes:
            stop = threading.Timer(60 * given.minutes, os.kill, (os.getpid(), signal.SIGTERM))
            stop.daemon = True
            stop.start()
        wrong = check(_looked_at(given))
        if wrong:
            raise UserError(f"the bank is not right on this device: {', '.join(wrong)}; see the table")


def check(given: Given) -> list[str]:
    """Do what is not on record yet, and print all of it; the pieces in which the bank is wrong."""
    import torch
    from transformers.utils import logging

    from benchmarks import machine
    from benchmarks.gpu_check import table
    from seal_ray.model.fingerprint import of_path

    logging.disable_progress_bar()
    model = of_path(Path(given.model)) if given.model else ""
    rehearsed = given.device == "cpu"
    subject = Subject(machine.name(torch.device(given.device)), code(), model, torch.__version__, rehearsed)
    record = Record(given.out, subject, _say)
    for part in given.parts:
        _do(part, given, record)
    _say(f"measured {record.measured} pieces; on record in {given.out}")
    print(table.tables(record.check, given.parts))
    return table.wrong(record.check) if "equality" in given.parts else []


def _do(part: str, given: Given, record: Record) -> None:
    """One part. The modules are imported late: a missing file is said before torch is loaded."""
    from benchmarks.gpu_check.equality import equality
    from benchmarks.gpu_check.paper import directory, experiment, paper, rehearsed
    from benchmarks.gpu_check.speed import speed

    slots, data = max(given.scale.slots), given.data or str(PASSAGES)
    if given.device == "cpu":
        config = rehearsed(given.size, given.model, data, slots)
    else:
        config = experiment(given.size, given.model, data, given.scale.dtype, slots)
    if part == "equality":
        equality(record, given.scale, given.device, config if given.model else None)
    elif part == "speed":
        speed(record, given.scale, given.device, given.model)
    else:
        config = replace(config, run=replace(config.run, dir=directory(given.folder, record.key, given.size, config)))
        paper(record, given.size, config, _say)


def _looked_at(given: argparse.Namespace) -> Given:
    """What is missing is said before anything is measured."""
    out, parts = Path(given.out), given.part or PARTS
    size = Experiment(**{name: getattr(given, name) for name in vars(Experiment())})
    if given.rehearse:
        model = given.model or str(out.absolute().with_suffix("") / "tiny-model")
        if not given.model and not Path(model, "config.json").exists():
            runpy.run_path(str(ROOT / "jobs/tiny_model.py"))["make"](model, hidden=64, layers=2)
        return Given(parts, out, weights.found(model), given.data, REHEARSAL, LITTLE, "cpu")
    if "paper" in parts and not (given.model and given.data):
        raise UserError("the part 'paper' needs --model and --data; give them, or --part equality --part speed")
    if given.data and not Path(given.data).is_file():
        raise UserError(f"--data {given.data!r}: there is no such file")
    import torch

    if not torch.cuda.is_available():
        raise UserError("torch sees no GPU on this machine; --rehearse does all of it in miniature on the processor")
    model = weights.found(given.model) if given.model else ""
    return Given(parts, out, model, given.data, FULL, size, "cuda")


def _split(source: str, into: str, convert: bool) -> None:
    if not into:
        raise UserError("--split needs --into FOLDER, where the pieces go")
    place = weights.as_folder(source) if convert else Path(source)
    names = weights.split(place, Path(into))
    print(f"{into}: {len(names)} files of at most {weights.MOST / 1e6:.0f} MB; give the folder as --model")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
