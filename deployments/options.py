"""Options of each deployment: names, resources, environment, health checks. Pure."""

import os
from typing import Any

from deployments.router import CpuRouter, GpuRouter
from trivet.config import AppConfig, Lane, ReplicaBounds, Task

_HEALTH = {
    "health_check_period_s": 1.0,  # a single replica is replaced in 2.7 s instead of 6.5 s
    "health_check_timeout_s": 10.0,
    "graceful_shutdown_wait_loop_s": 0.1,
    "graceful_shutdown_timeout_s": 20.0,
}

AUTOSCALING = {
    # Open requests per replica. A CPU replica gains nothing from more of them than fill a forward or two, so what is
    # above this number only waits.
    "target_ongoing_requests": 4.0,
    # Serve's own values, up to half a minute, are for replicas that share a machine with many others. Here requests
    # wait meanwhile for a CPU that is needed because no GPU has room.
    "metrics_interval_s": 1.0,
    "look_back_period_s": 5.0,
    "upscale_delay_s": 3.0,
    # A start costs seconds and the memory of the model, so a pause in the load does not end a replica.
    "downscale_delay_s": 120.0,
}
"""How the number of CPU replicas follows the load, where it may."""

_CPUS = 0.001
"""Enough to keep replicas off a cluster's head node that is started with `num-cpus: 0`."""

# Expandable segments keep mixed lengths from fragmenting the process's share of the GPU. Read when torch is imported.
_CUDA_ALLOCATOR = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
_NO_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "true"}


def deployment_name(task: Task, lane: Lane) -> str:
    """Return the name of a deployment: `embedder` on the GPU, `embedder-cpu` on the CPU."""
    return task if lane == "gpu" else f"{task}-cpu"


def replica_options(
    config: AppConfig, task: Task, lane: Lane, cluster_gpus: float, gpus_per_node: int = 1
) -> dict[str, Any]:
    """Return the options of one model's deployment on one lane.

    Reserves almost no CPU; otherwise six replicas would never schedule on two cores. The engine limits threads instead.

    Requests beyond `max_ongoing_requests` of a replica wait in the ingress's handle, up to the same number again, which
    is the work of a replica that is being replaced. Beyond that callers get 429 with Retry-After. Ray's default has no
    limit.
    """
    env = {"OMP_NUM_THREADS": str(config.cpu.threads or os.cpu_count() or 1), **_NO_TELEMETRY}
    gpus = 0.0
    if lane == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""  # an actor without a GPU still sees all of them
    elif config.device != "simulated" or cluster_gpus:
        gpus = config.model_for(task).gpu_fraction
        env |= _CUDA_ALLOCATOR
    if config.device == "simulated":
        gpus_per_node = len(config.simulated.all_gpus())
        gpus /= gpus_per_node  # one GPU of the cluster stands for all the simulated ones of its node
    options: dict[str, Any] = {
        "name": deployment_name(task, lane),
        "ray_actor_options": {"num_cpus": _CPUS, "num_gpus": gpus, "runtime_env": {"env_vars": env}},
        "max_ongoing_requests": config.serving.max_ongoing_requests,
        "max_queued_requests": config.serving.max_ongoing_requests,
        "request_router_config": {"request_router_class": CpuRouter if lane == "cpu" else GpuRouter},
        **_HEALTH,
    }
    if lane == "gpu":
        # One per GPU and model: the node's VRAM actor gives each replica its GPU.
        return options | {"num_replicas": config.gpu.replicas, "max_replicas_per_node": gpus_per_node}
    return options | _number_of_replicas(config.cpu.replicas)


def _number_of_replicas(bounds: ReplicaBounds) -> dict[str, Any]:
    if not bounds.scales:
        return {"num_replicas": bounds.min}
    return {"autoscaling_config": {"min_replicas": bounds.min, "max_replicas": bounds.max, **AUTOSCALING}}


def ingress_options(config: AppConfig) -> dict[str, Any]:
    """Return the options of the ingress.

    It holds four times as many requests as a model replica, since it serves three models and a cache; the proxy holds
    the same number again. `limits.max_open_characters` limits their total size, and applies long before the proxy's own
    limit, a 503 without Retry-After.
    """
    return {
        "name": "ingress",
        "num_replicas": config.serving.ingress_replicas,
        "ray_actor_options": {"num_cpus": _CPUS, "runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}},
        "max_ongoing_requests": 4 * config.serving.max_ongoing_requests,
        "max_queued_requests": 4 * config.serving.max_ongoing_requests,
        **_HEALTH,
        # An ingress that is replaced finishes its open requests, even if they wait for a model that is being replaced.
        # The ingress retries the lost work of a model replica, but no component retries the lost work of an ingress.
        "graceful_shutdown_timeout_s": config.limits.request_timeout_s + 5.0,
    }
