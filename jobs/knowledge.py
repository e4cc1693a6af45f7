"""Knowledge incorporation as a cluster job; on a cluster the run lives in object storage.

ray job submit --working-dir . -- python jobs/knowledge.py --run.dir s3://BUCKET/run --domain.options.train FILE
"""

import sys

from seal_ray.ops.jobs import submit

if __name__ == "__main__":
    submit("jobs/knowledge.toml", sys.argv[1:])
