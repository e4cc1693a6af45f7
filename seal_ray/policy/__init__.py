"""The versions of a run's policy, and how they are kept."""
