"""What is adapted to. A domain is one small protocol; see `base.py`, and CONTRIBUTING for adding one."""
