"""The micro-world as a cluster job.

ray job submit --working-dir . -- python jobs/microworld.py [--section.key value ...]
"""

import sys

from seal_ray.ops.jobs import submit

if __name__ == "__main__":
    submit("jobs/microworld.toml", sys.argv[1:])
