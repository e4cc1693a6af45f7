"""The commands for a model that was learnt: `serve` it, `export` it."""

from __future__ import annotations

from pathlib import Path

from seal_ray.cli.output import say
from seal_ray.errors import writing
from seal_ray.types import UserError


def serve(dir: str, *, host: str = "127.0.0.1", port: int = 8000, engine: str = "auto") -> None:
    """Serve a model and what it has learnt to clients of OpenAI's API.

    Parameters
    ----------
    dir
        Where documents were learnt, or a run.
    host
        The address to listen at. On any but this machine's own, clients give a token: that of SEAL_RAY_TOKEN, or one
        that is made and shown.
    port
        0 takes a free one.
    engine
        `transformers` answers one request after another, as everything was measured; `vllm` many at a time. `auto` is
        vLLM where it is installed and there is a GPU.
    """
    from seal_ray.observe.progress import start_log
    from seal_ray.serving.server import serve as serve_model

    start_log(quiet=True)
    serve_model(dir, host, port, say, engine)


def export(
    dir: str,
    *,
    self_edits: str = "",
    adapter: str = "",
    merged: str = "",
    submission: str = "",
    policy: str = "",
    force: bool = False,
) -> None:
    """Write what a run has learnt.

    Parameters
    ----------
    self_edits
        A file for the self-edits last kept, as JSON lines of prompt and completion.
    adapter
        A folder for the policy as a PEFT adapter, with its tokenizer and a model card.
    merged
        A folder for the policy as a whole Hugging Face model, with a model card.
    submission
        A file for the last policy's answers on held-out tasks, as Kaggle takes those of ARC.
    policy
        Which: the number of its round, `best` on held-out tasks, or a head (`sequence 0`: what a continual sequence
        has learnt at its end); empty: that of the last round.
    force
        Write over what is there.
    """
    from seal_ray.ops import export as exports
    from seal_ray.rundir.tuned import refuse_tuned

    if not (self_edits or adapter or merged or submission):
        raise UserError(
            "nothing to export: give --self-edits FILE, --adapter FOLDER, --merged FOLDER or --submission FILE"
        )
    for out in filter(None, (adapter, merged)):
        refuse_taken(out, force)
    for out in filter(None, (self_edits, submission)):
        refuse_taken(out, force, a_file=True)
    refuse_tuned(dir)
    if (adapter or merged) and not policy:
        policy = _known(dir)
    if self_edits:
        with writing(self_edits):
            say(f"{exports.export_self_edits(dir, self_edits)} self-edits: {self_edits}")
    if adapter:
        with writing(adapter):
            say(f"policy {_called(exports.export_adapter(dir, adapter, policy), policy)}: {adapter}")
    if merged:
        with writing(merged):
            say(f"policy {_called(exports.export_merged(dir, merged, policy), policy)}: {merged}")
    if submission:
        with writing(submission):
            say(f"{exports.export_submission(dir, submission)} tasks: {submission}")


def refuse_taken(where: str, force: bool, a_file: bool = False) -> None:
    """Refuse to write over what is there, unless with `force`; over a run's directory in no case.

    Nor is a folder to be made where a file is, or `a_file` where a folder is.
    """
    from seal_ray.record.manifest import FOLDER
    from seal_ray.rundir.directory import CONFIG

    out = Path(where)
    if (out / CONFIG).is_file() and (out / FOLDER).is_dir():
        raise UserError(f"{out}: is a run's own directory; name another place")
    if a_file and out.is_dir():
        raise UserError(f"{out}: is a folder; name a file")
    if out.exists() and not force and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: there is something already; name another place, or write over it with --force")
    for each in out.parents if a_file else (out, *out.parents):
        if each.exists() and not each.is_dir():
            raise UserError(f"{out}: {each} is a file, where a folder would have to be; name another place")


def _called(version: int, asked: str) -> str:
    """A policy by its number, and by what it was asked for as where that is something else."""
    return f"{version}" if asked in ("", f"{version}") else f"{version}, {asked}"


def _known(dir: str) -> str:
    """The policy that knows the documents as they were learnt last, which need not be the newest; empty for a run."""
    from seal_ray.domains.registry import learns
    from seal_ray.record.account import known_here
    from seal_ray.rundir.directory import recorded_config

    return str(known_here(dir).version) if learns(recorded_config(dir)) else ""
