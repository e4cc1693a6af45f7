"""Where the figures of a run go: one small sink for each tracker."""
