"""Knowledge incorporation: a passage's facts, written into weights."""
