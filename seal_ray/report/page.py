"""The page itself: templates filled with a run, under a policy that lets it load nothing and run its one script."""

from __future__ import annotations

import base64
import hashlib
import shlex
from functools import cache

import jinja2

from seal_ray.report import charts, heat, lanes, methods, round_charts, squares, words, writing_charts
from seal_ray.report.data import Run
from seal_ray.report.timeline import KINDS
from seal_ray.report.turns import contradicted, passages

_MOST_HISTOGRAMS = 24
_PICTURES = {
    "curve": charts.curve,
    "heat": heat.heat,
    "histogram": round_charts.histogram,
    "lengths": writing_charts.lengths,
    "losses": round_charts.losses,
    "methods": methods.drawn,
    "scatter": round_charts.scatter,
    "variety": writing_charts.variety,
    "workers": lanes.workers,
}


def render(run: Run, live: str = "") -> str:
    """A complete HTML document. Everything from the run is escaped: much of it was written by a model.

    A page that is `live`, as of this version of the run, asks the server that it came from for news.
    """
    sections = _sections(run)
    return (
        _environment()
        .get_template("page.jinja")
        .render(
            run=run,
            live=live,
            style=_text("style"),
            script=_text("script"),
            policy=policy(bool(live)),
            sections=list(sections),
            contents=[anchor for anchor in sections.values() if anchor],
            kinds=KINDS,
            doing=lanes.DOING,
            drawn_rounds=[r for r in run.rounds if r.candidates][-_MOST_HISTOGRAMS:],
            commands=_commands(run),
            has_policy=_has_policy(run),
        )
    )


def policy(live: bool) -> str:
    """The content security policy: this style and this script, by their hashes, and nothing else."""
    style, script = (_hash(_text(name)) for name in ("style", "script"))
    rules = [
        "default-src 'none'",
        f"style-src '{style}'",
        f"script-src '{script}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*rules, "connect-src 'self'"] if live else rules)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seal_ray.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("percent", "points", "number", "between", "duration"):
        environment.filters[name] = getattr(words, name)
    environment.globals |= {
        "squares": squares.squares,
        "charts": _PICTURES,
        "passages": passages,
        "contradicted": contradicted,
    }
    return environment


def _text(name: str) -> str:
    """The page's style, or its script."""
    return _environment().get_template(f"{name}.jinja").render()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _sections(run: Run) -> dict[str, tuple[str, str]]:
    """The files of the sections that this run has, in order, each with its anchor and what the contents call it."""
    measures = bool(run.arms or run.void or not (run.turns or run.methods))
    found = {
        "curve": ("s-curve", "What the self-edits teach") if measures else None,
        "turns": ("s-turns", "Passages learnt in turn") if run.turns else None,
        "methods": ("s-methods", "Every way to learn a text") if run.methods else None,
        "held_out": ("s-held-out", "Held-out tasks, one by one") if run.held_out.lines else None,
        "rounds": ("s-rounds", "Round by round") if run.rounds or not run.only_measures else None,
        "strategies": ("s-strategies", "What each strategy gained") if run.strategies else None,
        "playbook": ("s-playbook", "The playbook") if run.playbook else None,
        "edits": ("s-pairs", "The best and the worst note") if run.rounds else None,
        "decided": ("s-decided", "What was decided") if run.puzzles.decided else None,
        "pictures": ("s-pictures", "Every held-out task")
        if run.puzzles.pictures and run.puzzles.pictures.drawn
        else None,
        "writing": ("s-writing", _writing(run)) if run.writing_held_out or not run.only_measures else None,
        "failures": ("s-failures", "What failed") if run.failures else None,
        "time": ("s-time", "What it took"),
        "use": ("s-use", "How to use this policy" if _has_policy(run) else "How to go on"),
    }
    return {name: anchor for name, anchor in found.items() if anchor}


def _writing(run: Run) -> str:
    return "How it writes" if run.only_measures else "What the update changed in the writing"


def _has_policy(run: Run) -> bool:
    return bool(run.left.head or run.warm_start) or any(round_.policy for round_ in run.rounds)


def _commands(run: Run) -> list[tuple[str, str]]:
    """What a reader may want to do next, and the command that does it."""
    place = shlex.quote(run.place)
    return [
        *([("go on with the run", f"seal-ray resume {place}")] if run.missing or run.stopped else []),
        *(_of_rounds(run, place) if any(round_.policy for round_ in run.rounds) else []),
        *_of_turns(run, place),
        ("the figures, for a program", f"seal-ray eval {place} --json"),
        ("every trial, and all that is known of one", f"seal-ray explain {place}"),
        ("beside another run", f"seal-ray compare {place} OTHER"),
    ]


def _of_rounds(run: Run, place: str) -> list[tuple[str, str]]:
    best = " --policy best" if len(run.policies) > 1 else ""
    return [
        ("the policy as a PEFT adapter, with its tokenizer", f"seal-ray export {place} --adapter adapter{best}"),
        ("as a whole Hugging Face model", f"seal-ray export {place} --merged model{best}"),
        ("the self-edits last kept, to finetune another model on", f"seal-ray export {place} --self-edits kept.jsonl"),
        ("an OpenAI-compatible server of it", f"seal-ray serve {place}"),
    ]


def _of_turns(run: Run, place: str) -> list[tuple[str, str]]:
    """The rounds' policy is not what passages in turn left, and what they left goes by other names."""
    head, lesson, found = run.left.head, run.left.lesson, list[tuple[str, str]]()
    if head or lesson:
        found.append(("all adapters, of policies and of single passages", f"seal-ray adapters list {place}"))
    if head:
        export = f"seal-ray export {place} --policy {shlex.quote(head)} --adapter in-turn"
        found.append((f"the policy of {head} as a PEFT adapter, with its tokenizer", export))
    if lesson:
        found.append(("what one passage taught, taken out again", f"seal-ray adapters retract {place} {lesson}"))
    return found
