"""The few-shot demo: small grid puzzles, and a base model that has seen other rules than those it is tried on."""

from seal_ray.domains.arcworld.domain import BASE, ArcWorld

__all__ = ["BASE", "ArcWorld"]
