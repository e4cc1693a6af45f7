"""The command `seal-ray`. Commands import what they need when they run, so `--help` answers at once."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from cyclopts import App

import seal_ray
from seal_ray.cli.adapters import adapters
from seal_ray.cli.beforehand import doctor, init, plan
from seal_ray.cli.learning import advise, ask, chat, learn
from seal_ray.cli.looking import compare, explain, ls, watch
from seal_ray.cli.models import export, serve
from seal_ray.cli.recorded import evaluate, import_, repair, report
from seal_ray.cli.replays import grade, race
from seal_ray.cli.running import again, demo, methods, resume, run
from seal_ray.cli.tuning import tune
from seal_ray.errors import DEBUG, said_in_one_line
from seal_ray.stopping import PROMISE

_CONTINUED = ("run", "resume", "demo", "learn", "methods", "tune", "again")
"""Commands that go on where they were stopped."""

app = App(
    name="seal-ray",
    help="A language model writes its own finetuning data, and learns to write it better.\n\n"
    f"What is to be set right is said in one line; with {DEBUG}, with the traceback of where it was found.",
    version=seal_ray.__version__,
    help_format="plaintext",  # markdown would double the time to answer
    suppress_keyboard_interrupt=False,  # what stops a command is said in `main`
)
app.register_install_completion_command(add_to_startup=False)
for command in (
    *(init, doctor, plan),
    *(run, resume, demo, methods, again, tune),
    *(learn, advise, ask, chat, serve, export),
    *(ls, watch, compare, explain, report, repair, adapters),
    *(grade, race),
):
    app.command(command)
app.command(evaluate, name="eval")
app.command(import_, name="import")


def main(argv: list[str] | None = None) -> None:
    """Entry point: one line and exit code 2 for what the user can set right, a traceback for bugs or with --debug."""
    _open_what_is_closed()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without a dash, or without a model's letters, ends nothing
    given = list(sys.argv[1:] if argv is None else argv)
    continued = next((argument for argument in given if argument != DEBUG), "") in _CONTINUED
    with said_in_one_line(given, PROMISE if continued else "stopped") as arguments:
        if arguments[:1] == ["run"] and "--help" in arguments:
            _help_with_settings()
        else:
            app(arguments)


def _open_what_is_closed() -> None:
    """Standard streams that a shell closed (`>&-`) lead nowhere, so that nothing else is opened in their place.

    Python has none of them then, and whatever a library writes to number 1 would go into the first file of a run.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - for as long as the process
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _help_with_settings() -> None:
    from seal_ray.cli import settings

    app.help_print(["run"])
    print(f"Settings, in the TOML file or here:\n\n{settings.as_text()}")
