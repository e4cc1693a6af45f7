"""The base model: where it lies, what it is, how it is loaded. Only `loading`, `conversion`, `sanity` import torch."""
