"""A base and what was learnt on top of it, loaded once, to be asked."""
