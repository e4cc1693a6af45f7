"""LoRA adapters as plain arrays: files, stacking, compression."""
