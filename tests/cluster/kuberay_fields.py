"""The fields of KubeRay's custom resources (ray.io/v1, KubeRay 1.7) and of the pods in them, and a checker for them.

Written from the public API reference. A field that is not here is refused, as `kubectl apply` would with strict
validation; so is a missing required field (marked `!`), a wrong type, and a value outside its enumeration.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

ANY = object()
QUANTITY = (str, int)


@dataclass(frozen=True)
class Map:
    """An object whose keys are free and whose values are all of one kind."""

    value: Any


def problems(value: Any, kind: Any, where: str = "") -> list[str]:
    """What is wrong with the value, one line each with its path; empty when it fits."""
    if kind is ANY:
        return []
    if isinstance(kind, dict):
        return _object_problems(value, kind, where)
    if isinstance(kind, Map):
        if not isinstance(value, dict):
            return [f"{where}: expected an object"]
        return [line for key, item in value.items() for line in problems(item, kind.value, f"{where}.{key}")]
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{where}: expected a list"]
        return [line for i, item in enumerate(value) for line in problems(item, kind[0], f"{where}[{i}]")]
    if isinstance(kind, frozenset):
        return [] if value in kind else [f"{where}: {value!r} is none of {sorted(kind)}"]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return [] if fits else [f"{where}: {value!r} has the wrong type"]


def _object_problems(value: Any, kind: dict[str, Any], where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: expected an object"]
    known = {name.removesuffix("!"): item for name, item in kind.items()}
    found = [f"{where}: {name[:-1]!r} is missing" for name in kind if name.endswith("!") and name[:-1] not in value]
    for name, item in value.items():
        if name in known:
            found += problems(item, known[name], f"{where}.{name}")
        else:
            near = difflib.get_close_matches(name, known, 1)
            found.append(f"{where}: no field {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return found


METADATA = {"name": str, "generateName": str, "namespace": str, "labels": Map(str), "annotations": Map(str)}
KEY = {"name": str, "key!": str, "optional": bool}
SOURCE = {"name": str, "optional": bool}
ENV = {
    "name!": str,
    "value": str,
    "valueFrom": {"secretKeyRef": KEY, "configMapKeyRef": KEY, "fieldRef": ANY, "resourceFieldRef": ANY},
}
RESOURCES = {"requests": Map(QUANTITY), "limits": Map(QUANTITY), "claims": ANY}
MOUNT = {"name!": str, "mountPath!": str, "subPath": str, "subPathExpr": str, "readOnly": bool, "mountPropagation": str}
USER = {
    "runAsUser": int,
    "runAsGroup": int,
    "runAsNonRoot": bool,
    "seccompProfile": {"type!": frozenset({"RuntimeDefault", "Unconfined", "Localhost"}), "localhostProfile": str},
    "seLinuxOptions": ANY,
    "windowsOptions": ANY,
    "appArmorProfile": ANY,
}
CONFINEMENT = USER | {
    "allowPrivilegeEscalation": bool,
    "capabilities": {"add": [str], "drop": [str]},
    "privileged": bool,
    "readOnlyRootFilesystem": bool,
    "procMount": str,
}
CONTAINER = {
    "name!": str,
    "image": str,
    "imagePullPolicy": frozenset({"Always", "IfNotPresent", "Never"}),
    "command": [str],
    "args": [str],
    "workingDir": str,
    "ports": [{"containerPort!": int, "name": str, "protocol": str, "hostPort": int, "hostIP": str}],
    "env": [ENV],
    "envFrom": [{"secretRef": SOURCE, "configMapRef": SOURCE, "prefix": str}],
    "resources": RESOURCES,
    "resizePolicy": ANY,
    "volumeMounts": [MOUNT],
    "volumeDevices": ANY,
    "livenessProbe": ANY,
    "readinessProbe": ANY,
    "startupProbe": ANY,
    "lifecycle": ANY,
    "terminationMessagePath": str,
    "terminationMessagePolicy": str,
    "securityContext": CONFINEMENT,
    "stdin": bool,
    "stdinOnce": bool,
    "tty": bool,
}
VOLUME = {
    "name!": str,
    "emptyDir": {"medium": str, "sizeLimit": QUANTITY},
    "persistentVolumeClaim": {"claimName!": str, "readOnly": bool},
    "configMap": ANY,
    "secret": ANY,
    "hostPath": ANY,
    "projected": ANY,
    "downwardAPI": ANY,
    "csi": ANY,
    "ephemeral": ANY,
    "nfs": ANY,
}
TOLERATION = {
    "key": str,
    "operator": frozenset({"Exists", "Equal"}),
    "value": str,
    "effect": frozenset({"NoSchedule", "PreferNoSchedule", "NoExecute"}),
    "tolerationSeconds": int,
}
POD = {
    "metadata": METADATA,
    "spec!": {
        "containers!": [CONTAINER],
        "initContainers": [CONTAINER | {"restartPolicy": str}],
        "volumes": [VOLUME],
        "nodeSelector": Map(str),
        "tolerations": [TOLERATION],
        "affinity": ANY,
        "topologySpreadConstraints": ANY,
        "serviceAccountName": str,
        "automountServiceAccountToken": bool,
        "restartPolicy": frozenset({"Always", "OnFailure", "Never"}),
        "terminationGracePeriodSeconds": int,
        "activeDeadlineSeconds": int,
        "priorityClassName": str,
        "runtimeClassName": str,
        "schedulerName": str,
        "imagePullSecrets": [{"name": str}],
        "hostNetwork": bool,
        "hostIPC": bool,
        "hostPID": bool,
        "shareProcessNamespace": bool,
        "dnsPolicy": str,
        "dnsConfig": ANY,
        "enableServiceLinks": bool,
        "securityContext": USER
        | {"fsGroup": int, "fsGroupChangePolicy": str, "supplementalGroups": [int], "sysctls": ANY},
    },
}
HEAD_GROUP = {
    "template!": POD,
    "rayStartParams": Map(str),
    "serviceType": frozenset({"ClusterIP", "NodePort", "LoadBalancer"}),
    "headService": ANY,
    "enableIngress": bool,
    "ingressOptions": ANY,
    "resources": Map(str),
    "labels": Map(str),
}
WORKER_GROUP = {
    "groupName!": str,
    "replicas": int,
    "minReplicas!": int,
    "maxReplicas!": int,
    "idleTimeoutSeconds": int,
    "priority": int,
    "resources": Map(str),
    "labels": Map(str),
    "rayStartParams": Map(str),
    "template!": POD,
    "scaleStrategy": {"workersToDelete": [str]},
    "numOfHosts": int,
    "suspend": bool,
}
CLUSTER_SPEC = {
    "rayVersion": str,
    "authOptions": {
        "mode": frozenset({"disabled", "token"}),
        "secretName": str,
        "enableK8sTokenAuth": bool,
    },
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": frozenset({"v1", "v2"}),
        "upscalingMode": frozenset({"Default", "Aggressive", "Conservative"}),
        "idleTimeoutSeconds": int,
        "image": str,
        "imagePullPolicy": frozenset({"Always", "IfNotPresent", "Never"}),
        "resources": RESOURCES,
        "securityContext": CONFINEMENT,
        "env": [ENV],
        "envFrom": CONTAINER["envFrom"],
        "volumeMounts": [MOUNT],
        "command": [str],
        "args": [str],
    },
    "headGroupSpec!": HEAD_GROUP,
    "workerGroupSpecs": [WORKER_GROUP],
    "headServiceAnnotations": Map(str),
    "gcsFaultToleranceOptions": ANY,
    "historyServerOptions": ANY,
    "networkPolicy": ANY,
    "tlsOptions": {"enabled": bool},
    "upgradeStrategy": {"type": frozenset({"Recreate", "None"})},
    "managedBy": str,
    "suspend": bool,
}
JOB_SPEC = {
    "entrypoint": str,
    "entrypointNumCpus": (int, float),
    "entrypointNumGpus": (int, float),
    "entrypointResources": str,
    "runtimeEnvYAML": str,
    "jobId": str,
    "metadata": Map(str),
    "submissionMode": frozenset({"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}),
    "submitterPodTemplate": POD,
    "submitterConfig": {"backoffLimit": int},
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "preRunningDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "deletionStrategy": ANY,
    "rayClusterSpec": CLUSTER_SPEC,
    "clusterSelector": Map(str),
    "managedBy": str,
    "suspend": bool,
}
RAY_CLUSTER = {
    "apiVersion!": frozenset({"ray.io/v1"}),
    "kind!": frozenset({"RayCluster"}),
    "metadata!": METADATA,
    "spec!": CLUSTER_SPEC,
}
RAY_JOB = RAY_CLUSTER | {"kind!": frozenset({"RayJob"}), "spec!": JOB_SPEC}
KINDS = {"RayCluster": RAY_CLUSTER, "RayJob": RAY_JOB}
