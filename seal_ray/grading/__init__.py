"""Verdicts on answers: exact match, overlap, a learnt verdict that needs no network, and judge models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from seal_ray import plugins
from seal_ray.grading.base import Grader, Item
from seal_ray.types import UserError

GRADERS = {
    "exact": "seal_ray.grading.base:Exact",
    "f1": "seal_ray.grading.base:F1",
    "offline": "seal_ray.grading.offline:Offline",
    "judge": "seal_ray.grading.judge:Judge",
    "local judge": "seal_ray.grading.judge:LocalJudge",
}


def load(name: str, options: Mapping[str, Any] | None = None) -> Grader:
    """The grader of that name, or a user's own as `package.module:Thing`.

    A grader that has an `Options` model is made from it, any other from keyword arguments. The local judge
    needs `sample`, the function through which it asks.
    """
    thing = plugins.find("grading.name", name, GRADERS)
    options = dict(options or {})
    try:
        if hasattr(thing, "Options"):
            return thing(thing.Options(**options))  # type: ignore[no-any-return]
        return thing(**options)  # type: ignore[no-any-return]
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(["grading.options", *map(str, item["loc"])])
        raise UserError(f"{where}: {item['msg'].lower()} (known: {', '.join(thing.Options.model_fields)})") from None
    except TypeError as error:
        raise UserError(f"grading.options do not fit grader {name!r}: {error}") from None


__all__ = ["GRADERS", "Grader", "Item", "load"]
