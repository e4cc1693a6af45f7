"""The browser that report pages are opened in."""

from tests.chromium import chromium

__all__ = ["chromium"]
