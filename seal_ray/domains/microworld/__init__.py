"""The embedded default: a small fictional world, and a base model that knows the language but not the people."""

from seal_ray.domains.microworld.domain import BASE, MicroWorld, describe

__all__ = ["BASE", "MicroWorld", "describe"]
