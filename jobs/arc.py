"""ARC as a cluster job.

ray job submit --working-dir . -- python jobs/arc.py --domain.options.train FILE --domain.options.test FILE ...
"""

import sys

from seal_ray.ops.jobs import submit

if __name__ == "__main__":
    submit("jobs/arc.toml", sys.argv[1:])
