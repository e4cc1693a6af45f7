"""Finds trial settings that fit a model and a domain: many are tried on few training tasks, the better half on more.

What the race chose is held to the settings it started from on other training tasks. Held-out tasks are never seen.
"""

from seal_ray.tuning.tune import tune

__all__ = ["tune"]
