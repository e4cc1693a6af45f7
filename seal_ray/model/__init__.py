"""The base model: where it lies, what it is, and how it is loaded. Only `loading` imports torch."""
