"""The benches as a cluster job, on one of its GPUs; with `--device cpu` on a CPU.

ray job submit --working-dir . -- python jobs/bench.py trials --shape qwen2.5-7b
"""

import sys

from seal_ray.ops.jobs import submit_bench

if __name__ == "__main__":
    submit_bench(sys.argv[1:])
