"""Runs seen from beside: listed, followed, compared, and one trial of one explained. Nothing of them is changed."""
