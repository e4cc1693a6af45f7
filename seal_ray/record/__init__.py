"""The record of a run: what was planned, what came of it, and where it lives."""
