"""What a run is, and whose a directory is: identity, keys of rows, environment."""
