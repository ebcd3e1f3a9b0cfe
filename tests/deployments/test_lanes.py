"""Which lanes are bound, how replicas are placed, and that Ray validates our arguments."""

import inspect
from typing import Any

import pytest

import app
from deployments.lanes import bound_lanes
from deployments.options import deployment_name, ingress_options, replica_options
from trivet import gpu
from trivet.config import AppConfig
from trivet.dispatch.status import cpu_only_reason
from trivet.errors import ConfigError


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 0, ("cpu",)),
        ("auto", 1, ("gpu", "cpu")),
        ("cpu", 1, ("cpu",)),
        ("cuda", 1, ("gpu", "cpu")),
        ("simulated", 0, ("gpu", "cpu")),
    ],
)
def test_bound_lanes(device: Any, gpus: float, expected: tuple[str, ...]) -> None:
    assert bound_lanes(AppConfig(device=device), gpus, None) == expected


def test_asking_for_a_gpu_that_is_not_there_is_an_error_instead_of_a_wait() -> None:
    with pytest.raises(ConfigError, match="no node of this cluster has a GPU"):
        bound_lanes(AppConfig(device="cuda"), 0, None)


def test_a_torch_without_cuda_leaves_the_gpu_alone_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    cpu_torch = "2.13.0+cpu"
    assert bound_lanes(AppConfig(device="auto"), 1, cpu_torch) == ("cpu",)
    assert "2.13.0+cpu is a build without CUDA" in caplog.text
    assert "a build without CUDA" in cpu_only_reason(AppConfig(device="auto"), cpu_torch)
    with pytest.raises(ConfigError, match="a build without CUDA: install one with CUDA"):
        bound_lanes(AppConfig(device="cuda"), 1, cpu_torch)
    assert bound_lanes(AppConfig(device="simulated"), 1, cpu_torch) == ("gpu", "cpu")


@pytest.mark.parametrize(("installed", "found"), [("2.13.0+cpu", True), ("2.13.0", False), ("2.11.0+cu130", False)])
def test_a_build_of_torch_is_known_by_its_version(installed: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "version", lambda name: installed)
    assert gpu.torch_without_cuda() == (installed if found else None)


def test_the_cpu_cpu_replica_sees_no_gpu_and_books_nothing() -> None:
    options = replica_options(AppConfig(), "embedder", "cpu", cluster_gpus=1)
    assert options["name"] == "embedder-cpu"
    assert options["ray_actor_options"]["num_gpus"] == 0
    assert 0 < options["ray_actor_options"]["num_cpus"] <= 0.01
    assert options["ray_actor_options"]["runtime_env"]["env_vars"]["CUDA_VISIBLE_DEVICES"] == ""


def test_the_gpu_replica_books_its_fraction() -> None:
    options = replica_options(AppConfig(), "embedder", "gpu", cluster_gpus=1)
    assert deployment_name("embedder", "gpu") == "embedder"
    assert options["ray_actor_options"]["num_gpus"] == 0.3
    assert "CUDA_VISIBLE_DEVICES" not in options["ray_actor_options"]["runtime_env"]["env_vars"]


def test_a_simulated_gpu_books_nothing_where_there_is_none() -> None:
    options = replica_options(AppConfig(device="simulated"), "embedder", "gpu", cluster_gpus=0)
    assert options["ray_actor_options"]["num_gpus"] == 0


def test_a_model_has_as_many_gpu_replicas_on_a_node_as_the_node_has_gpus() -> None:
    assert replica_options(AppConfig(), "embedder", "gpu", 2, gpus_per_node=2)["max_replicas_per_node"] == 2
    simulated = AppConfig.model_validate({"device": "simulated", "simulated": {"gpus": ["8GiB", "8GiB"]}})
    options = replica_options(simulated, "embedder", "gpu", cluster_gpus=1)
    assert options["max_replicas_per_node"] == 2
    assert options["ray_actor_options"]["num_gpus"] == 0.15, "the cluster's GPU stands for both"


def test_only_the_number_of_cpu_replicas_follows_the_load() -> None:
    fixed = AppConfig.model_validate({"cpu": {"replicas": 2}})
    options = replica_options(fixed, "embedder", "cpu", cluster_gpus=1)
    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options

    config = AppConfig.model_validate({"cpu": {"replicas": {"min": 2, "max": 5}}, "gpu": {"replicas": 3}})
    options = replica_options(config, "embedder", "cpu", cluster_gpus=1)
    scaling = options["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (2, 5)
    assert "num_replicas" not in options, "Serve refuses both"
    on_gpu = replica_options(config, "embedder", "gpu", cluster_gpus=3)
    assert on_gpu["num_replicas"] == 3
    assert "autoscaling_config" not in on_gpu


def test_the_builder_is_typed_at_run_time() -> None:
    # With postponed annotations Ray would pass a raw dict and validate nothing.
    assert inspect.signature(app.build).parameters["args"].annotation is AppConfig


def test_no_handle_queues_without_end() -> None:
    config = AppConfig.model_validate({"serving": {"max_ongoing_requests": 7}})
    for options in (replica_options(config, "embedder", "cpu", cluster_gpus=0), ingress_options(config)):
        assert 0 < options["max_queued_requests"] <= 4 * 7  # Ray's default, -1, is any number


def test_an_ingress_that_is_replaced_may_finish_every_request_it_has() -> None:
    config = AppConfig.model_validate({"limits": {"request_timeout_s": 120}})
    assert ingress_options(config)["graceful_shutdown_timeout_s"] > 120
