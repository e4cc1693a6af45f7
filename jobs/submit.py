"""A run as a job of a Ray cluster; there its directory is in object storage.

ray job submit --working-dir . -- python jobs/submit.py jobs/microworld.toml --run.dir s3://BUCKET/run
"""

from seal_ray.cli.submit import app

if __name__ == "__main__":
    app()
