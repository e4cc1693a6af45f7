"""The embedded default: a small fictional world, and a base model that speaks its language but has met none of its people."""

from seal_ray.domains.microworld.domain import BASE, MicroWorld, Options, describe

__all__ = ["BASE", "MicroWorld", "Options", "describe"]
