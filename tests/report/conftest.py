"""The browser that report pages are opened in."""

from tests.axe import axe
from tests.chromium import chromium

__all__ = ["axe", "chromium"]
