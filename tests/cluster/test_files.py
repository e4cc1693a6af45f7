"""What is shipped to start a cluster is held to Ray's own checks, KubeRay's fields and our own promises."""

import copy
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from seal_ray.config import load
from tests.cluster.autoscaling import CLUSTER
from tests.cluster.kuberay_fields import KINDS, problems

ROOT = CLUSTER.parent
LAUNCHERS = [CLUSTER / name for name in ("aws.yaml", "gcp.yaml", "hosts.yaml")]
CLOUDS = LAUNCHERS[:2]
RAY_CLUSTER, RAY_JOB = CLUSTER / "kuberay" / "raycluster.yaml", CLUSTER / "kuberay" / "rayjob.yaml"
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|\bhf_\w{20,}|\bsk-[\w-]{20,}|PRIVATE KEY|(?i:password|token|secret|_key)\w*[=:] *\w{16,}"
)
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|KEY")

by_name = pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
manifest = pytest.mark.parametrize("path", [RAY_CLUSTER, RAY_JOB], ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def leaves(value: Any, trail: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every scalar of a tree with the keys that lead to it."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*trail, key))
    else:
        yield trail, value


def cluster_spec(path: Path) -> dict[str, Any]:
    spec = read(path)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(path: Path) -> list[dict[str, Any]]:
    spec = cluster_spec(path)
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


# Ray's cluster launcher


@by_name
def test_ray_accepts_the_launcher_file(path: Path) -> None:
    validate_config(prepare_config(read(path)))


@by_name
def test_ray_refuses_a_misspelt_launcher_field(path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(prepare_config(read(path) | {"idle_timeout_minute": 5}))


@pytest.mark.parametrize("path", CLOUDS, ids=lambda path: path.stem)
def test_a_cloud_head_takes_no_work_and_its_workers_come_from_none(path: Path) -> None:
    config = prepare_config(read(path))
    kinds = config["available_node_types"]
    head = kinds.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert all(kind["min_workers"] == 0 < kind["max_workers"] and kind["resources"]["GPU"] for kind in kinds.values())
    assert config["provider"]["cache_stopped_nodes"] is False
    assert config["idle_timeout_minutes"] <= 10


def test_every_host_of_ones_own_joins_and_its_head_takes_no_work() -> None:
    config = prepare_config(read(CLUSTER / "hosts.yaml"))
    (kind,) = config["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == len(config["provider"]["worker_ips"])
    assert any("--num-cpus=0" in command for command in config["head_start_ray_commands"])


@by_name
def test_nodes_get_the_project_with_its_pinned_versions_and_a_token(path: Path) -> None:
    config = prepare_config(read(path))
    for role in ("head", "worker"):
        assert sum("--constraint constraints.txt" in command for command in config[f"{role}_setup_commands"]) == 1
        assert any("RAY_AUTH_MODE=token" in command for command in config[f"{role}_setup_commands"])
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@by_name
def test_a_launched_dashboard_listens_on_loopback_only(path: Path) -> None:
    heads = [command for command in read(path)["head_start_ray_commands"] if "--head" in command]
    assert all("--dashboard-host=127.0.0.1" in command for command in heads)
    assert heads
    assert "0.0.0.0" not in path.read_text()


@by_name
def test_every_command_is_shell_that_parses(path: Path) -> None:
    commands = [line for key, lines in read(path).items() if key.endswith("_commands") for line in lines]
    assert len(commands) >= 8
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


# KubeRay


@manifest
def test_the_manifest_has_only_fields_that_kuberay_knows(path: Path) -> None:
    document = read(path)
    assert problems(document, KINDS[document["kind"]]) == []


@pytest.mark.parametrize(
    ("trail", "right", "wrong"),
    [
        ((), "spec", "specs"),
        (("headGroupSpec",), "rayStartParams", "rayStartParam"),
        (("workerGroupSpecs", 0), "minReplicas", "minReplica"),
        (("workerGroupSpecs", 0, "template", "spec"), "tolerations", "toleration"),
        (("workerGroupSpecs", 1, "template", "spec", "containers", 0), "volumeMounts", "volumeMount"),
    ],
)
@manifest
def test_a_misspelt_field_is_found_wherever_it_is(path: Path, trail: tuple[Any, ...], right: str, wrong: str) -> None:
    document = copy.deepcopy(read(path))
    place = document if not trail else document["spec"].get("rayClusterSpec", document["spec"])
    for key in trail:
        place = place[key]
    place[wrong] = place.pop(right)
    found = problems(document, KINDS[document["kind"]])
    assert any(f"no field {wrong!r}; did you mean {right!r}?" in line for line in found)


@pytest.mark.parametrize(
    ("trail", "value"),
    [
        (("apiVersion",), "ray.io/v1alpha1"),
        (("spec", "autoscalerOptions", "version"), "v3"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "workerGroupSpecs"), {}),
        (("spec", "enableInTreeAutoscaling"), "true"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), True),
    ],
)
def test_a_value_of_the_wrong_kind_is_found(trail: tuple[Any, ...], value: Any) -> None:
    document = read(RAY_CLUSTER)
    place: Any = document
    for key in trail[:-1]:
        place = place[key]
    place[trail[-1]] = value
    assert len(problems(document, KINDS["RayCluster"])) == 1


def test_a_missing_required_field_is_found() -> None:
    document = read(RAY_CLUSTER)
    del document["spec"]["workerGroupSpecs"][0]["groupName"]
    assert problems(document, KINDS["RayCluster"]) == [".spec.workerGroupSpecs[0]: 'groupName' is missing"]


def test_the_job_brings_the_cluster_that_the_other_manifest_starts() -> None:
    assert cluster_spec(RAY_JOB) == cluster_spec(RAY_CLUSTER)


def test_the_job_runs_a_shipped_entry_point_with_flags_its_config_knows() -> None:
    python, script, config, *overrides = read(RAY_JOB)["spec"]["entrypoint"].split()
    assert (python, script) == ("python", "jobs/submit.py")
    assert load(ROOT / config, overrides).dir.startswith("s3://")


def autoscaler_view(path: Path) -> dict[str, Any]:
    """What Ray's autoscaler makes of the manifest; it validates it on the way."""
    return _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "seal-ray", "namespace": "default"}, "spec": cluster_spec(path)}
    )


def test_rays_autoscaler_reads_an_idle_head_and_gpu_groups_from_none() -> None:
    config = autoscaler_view(RAY_CLUSTER)
    kinds = config["available_node_types"]
    assert kinds.pop("headgroup")["resources"]["CPU"] == 0
    assert {name: (kind["min_workers"], kind["resources"]["GPU"]) for name, kind in kinds.items()} == {
        "gpu-spot": (0, 1),
        "gpu-on-demand": (0, 1),
    }
    assert config["idle_timeout_minutes"] == 5


@pytest.mark.parametrize(("spot_availability", "chosen"), [(1.0, "gpu-spot"), (0.0, "gpu-on-demand")])
def test_a_gpu_is_asked_of_spot_and_of_on_demand_once_spot_did_not_come_up(
    spot_availability: float, chosen: str
) -> None:
    config = AutoscalingConfig(autoscaler_view(RAY_CLUSTER))
    demand = ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"GPU": 1, "CPU": 1})])
    reply = ResourceDemandScheduler(None).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes(),
            resource_requests=demand,
            recoverable_resource_availabilities={"gpu-spot": spot_availability},
        )
    )
    assert [launch.instance_type for launch in reply.to_launch] == [chosen]


@manifest
def test_pods_are_confined_and_the_dashboard_is_behind_a_token_and_no_public_service(path: Path) -> None:
    spec = cluster_spec(path)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for pod in pods(path):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert all(container["securityContext"]["allowPrivilegeEscalation"] is False for container in pod["containers"])


@manifest
def test_only_a_pods_own_dashboard_listens_on_all_addresses_and_the_file_says_why(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "0.0.0.0" in line]
    assert len(lines) == 1
    assert re.search(r"dashboard-host: 0\.0\.0\.0 +# .*pod", lines[0])


# Everything shipped here


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.split("==")[1].strip() for line in lines if line.startswith(f"{package}=="))


needs_constraints = pytest.mark.skipif(
    not (ROOT / "constraints.txt").is_file(), reason="there is no constraints.txt yet"
)


@needs_constraints
def test_all_that_nodes_and_images_are_made_of_is_here() -> None:
    mounts = [local for path in LAUNCHERS for local in read(path)["file_mounts"].values() if not local.startswith("~")]
    allowed = (CLUSTER / "Containerfile.dockerignore").read_text().splitlines()
    copied = [line[1:] for line in allowed if line.startswith("!")]
    assert [name for name in mounts + copied if not (ROOT / name).exists()] == []


@needs_constraints
@manifest
def test_the_manifests_name_the_pinned_ray_and_the_projects_version(path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert cluster_spec(path)["rayVersion"] == pinned("ray")
    images = {container["image"] for pod in pods(path) for container in pod["containers"]}
    assert images == {f"registry.example.com/seal-ray:{version}-ray{pinned('ray')}"}
    assert images.pop() in (CLUSTER / "Containerfile").read_text()


@needs_constraints
def test_the_pinned_versions_fit_cpu_and_gpu_nodes_alike() -> None:
    assert "+" not in (ROOT / "constraints.txt").read_text()  # as in 2.13.0+cpu, which no GPU node could install


def test_the_image_is_pinned_unprivileged_and_copies_only_what_it_names() -> None:
    lines = (CLUSTER / "Containerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith(("#", " "))]
    (base,) = [rest[0] for verb, *rest in words if verb == "FROM"]
    assert re.fullmatch(r"python:3\.11-[\w.-]+", base)
    assert [rest for verb, *rest in words if verb == "USER"][-1] != ["root"]
    assert any("--constraint constraints.txt" in line for line in lines)
    assert not any(verb in ("ADD", "ENV", "ARG") for verb, *_ in words)
    copied = {source for verb, *rest in words if verb == "COPY" for source in rest[:-1]}
    allowed = (CLUSTER / "Containerfile.dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in allowed if line.startswith("!")}


@pytest.mark.parametrize(
    "path", sorted(p for p in CLUSTER.rglob("*") if p.is_file() and p.suffix != ".pyc"), ids=lambda p: p.name
)
def test_no_file_holds_a_secret(path: Path) -> None:
    assert not SECRET.search(path.read_text())


@pytest.mark.parametrize(
    "line",
    ["RAY_AUTH_TOKEN: 0123456789abcdef0123", "export AWS_SECRET_ACCESS_KEY=abcdefghij0123456789", "AKIA" + "A" * 16],
)
def test_a_secret_would_be_found(line: str) -> None:
    assert SECRET.search(line)


@manifest
def test_a_variable_with_a_secret_name_would_take_its_value_from_a_secret(path: Path) -> None:
    names = [(trail, value) for trail, value in leaves(read(path)) if "env" in trail and trail[-1] == "name"]
    assert names
    assert not [value for _, value in names if SECRET_NAME.search(value)]


def test_the_readme_names_only_files_that_exist_and_submits_jobs_one_way() -> None:
    text = (CLUSTER / "README.md").read_text()
    named = set(re.findall(r"\b(?:cluster|jobs)/[\w/.-]*\w", text))
    assert {f"cluster/{name}.yaml" for name in ("aws", "gcp", "hosts")} | {"jobs/submit.py"} <= named
    assert all((ROOT / name).exists() for name in named)
    submissions = re.findall(r"^ *(.*ray job submit .*)$", text, re.MULTILINE)
    assert submissions
    assert all("--working-dir . -- python jobs/submit.py " in line for line in submissions)
