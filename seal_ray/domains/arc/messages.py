"""A grid task as a chat: demonstrations in the system turn, the input to solve in the user's, the output in reply."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seal_ray.domains.arc.grids import END, write_array
from seal_ray.types import Chat, Message

SYSTEM = """\
Each pair below shows a grid before and after one and the same change. Find the change, and make it on the last grid. \
A grid is written as rows of colours from 0 to 9; write the answer the same way and close it with #.
{description}
"""
"""Default wording. `{description}` is where a template may have words on the task; the domain has none to put there."""


def demonstration(given_HW: np.ndarray, wanted_HW: np.ndarray) -> str:
    return f"{asked(given_HW)}{reply(wanted_HW)}\n"


def asked(given_HW: np.ndarray) -> str:
    return f"{write_array(given_HW)} -> "


def reply(wanted_HW: np.ndarray) -> str:
    return f"{write_array(wanted_HW)}{END}"


def chat(demos: Sequence[tuple[np.ndarray, np.ndarray]], given_HW: np.ndarray, template: str = SYSTEM) -> Chat:
    shown = "".join(demonstration(*pair) for pair in demos)
    return (
        Message("system", template.replace("{description}", "") + shown),
        Message("user", asked(given_HW)),
    )
