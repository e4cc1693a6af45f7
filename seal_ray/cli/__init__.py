"""The command `seal-ray`: `app` has its commands."""
