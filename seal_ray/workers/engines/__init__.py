"""What writes self-edits: one small seam, and the engines behind it."""
