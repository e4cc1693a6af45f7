from __future__ import annotations

import subprocess
import sys

PARENT = """
import subprocess, sys
from seal_ray.workers.engines.guard import end_with_me
helper = subprocess.Popen(["sleep", "600"], stdout=sys.stdout)
end_with_me([helper.pid])
print("ready", flush=True)
helper.wait()
"""


def test_a_helper_process_dies_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    # The helper holds the pipe too, so it ends only when both are gone.
    rest, _ = parent.communicate(timeout=60)
    assert rest == ""
