"""Passages that arrive one after another."""
