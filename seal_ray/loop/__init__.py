"""The method itself: self-edits sampled, tried, kept and learnt from, round by round."""
