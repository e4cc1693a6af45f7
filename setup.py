"""What pyproject.toml cannot say of the build: the jobs, which lie beside the package, go into the wheel."""

from pathlib import Path
from shutil import copy2

from setuptools import setup
from setuptools.command.build_py import build_py


class WithJobs(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has them already
            target = Path(self.build_lib, "seal_ray", "jobs")
            target.mkdir(parents=True, exist_ok=True)
            for path in [*Path("jobs").glob("*.toml"), *Path("jobs").glob("*.jsonl")]:
                copy2(path, target)


setup(cmdclass={"build_py": WithJobs})
