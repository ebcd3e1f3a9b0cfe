"""The manifest for Kubernetes, as far as it can be checked without a cluster."""

import re
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

import trivet
from deployments.environment.variables import SHIPPED_FILE, read_variables
from tests.ops.files import ROOT
from trivet.config import AppConfig

Mapping = dict[str, Any]

MANIFEST, POLICY = yaml.safe_load_all((ROOT / "ops" / "kuberay" / "rayservice.yaml").read_text(encoding="utf-8"))
CLUSTER: Mapping = MANIFEST["spec"]["rayClusterConfig"]
HEAD: Mapping = CLUSTER["headGroupSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
CONFIG_FILE: Mapping = yaml.safe_load((ROOT / "configs" / "cluster.yaml").read_text(encoding="utf-8"))

SEVERAL_MACHINES = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_AUTH_MODE": "disabled"}
"""Variables that differ from a single machine: a network policy, not a token, protects Ray's servers."""


def container(group: Mapping) -> Mapping:
    (only,) = group["template"]["spec"]["containers"]
    found: Mapping = only
    return found


def test_it_serves_the_cluster_configuration_of_this_project() -> None:
    embedded = yaml.safe_load(MANIFEST["spec"]["serveConfigV2"])
    assert embedded == CONFIG_FILE
    (application,) = ServeDeploySchema.model_validate(embedded).applications
    assert application.import_path == "app:build"


def test_there_is_a_gpu_replica_for_every_gpu_pod() -> None:
    (application,) = CONFIG_FILE["applications"]
    config = AppConfig.model_validate(application["args"])
    assert WORKERS["replicas"] == WORKERS["minReplicas"] == config.gpu.replicas
    assert container(WORKERS)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(HEAD)["resources"]["limits"]
    assert CONFIG_FILE["proxy_location"] == "EveryNode"


def test_its_version_of_ray_is_the_pinned_one() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert CLUSTER["rayVersion"] == pinned.group(1)


@pytest.mark.parametrize("group", [HEAD, WORKERS], ids=["head", "workers"])
def test_pods_have_rays_variables_and_their_volumes(group: Mapping) -> None:
    assert container(group)["envFrom"] == [
        {"configMapRef": {"name": "trivet-ray"}},
        {"secretRef": {"name": "trivet-keys"}},
    ]
    given = {variable["name"]: variable["value"] for variable in container(group)["env"]}
    assert given == SEVERAL_MACHINES
    assert container(group)["image"].endswith(f":{trivet.__version__}")
    mounted = {mount["name"] for mount in container(group)["volumeMounts"]}
    assert mounted == {volume["name"] for volume in group["template"]["spec"]["volumes"]}
    assert group["template"]["spec"]["terminationGracePeriodSeconds"] > 20


def test_the_variables_file_means_the_same_to_kubectl() -> None:
    text = SHIPPED_FILE.read_text(encoding="utf-8")
    literally = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert literally == {variable.name: variable.value for variable in read_variables(text)}
    assert set(SEVERAL_MACHINES) <= set(literally)


def test_other_pods_reach_only_the_http_port() -> None:
    assert POLICY["kind"] == "NetworkPolicy"
    everybody, insiders = POLICY["spec"]["ingress"]
    assert everybody == {"ports": [{"port": CONFIG_FILE["http_options"]["port"]}]}
    assert all("podSelector" in peer for peer in insiders["from"])
