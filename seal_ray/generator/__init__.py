"""A network that writes the adapter of a passage in one pass, without training on it."""
