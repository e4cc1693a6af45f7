"""Runs under seeded faults, each held against a quiet run: `python -m tests.chaos`, or `make test-chaos`."""
