"""Every way to learn a text, side by side: one engine, one budget, one table."""
