"""Which self-edits taught, and which are tried again: rules, racing, and how far a reward can be trusted."""
