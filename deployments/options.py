"""How each deployment is placed: names, resources, environment, health checks. Pure."""

import os
from typing import Any

from deployments.router import GpuNodeRouter
from trivet.config import AppConfig, Lane, Task

_HEALTH = {
    "health_check_period_s": 1.0,  # an only replica is back in 2.7 s instead of 6.5 s
    "health_check_timeout_s": 10.0,
    "graceful_shutdown_wait_loop_s": 0.1,
    "graceful_shutdown_timeout_s": 20.0,
}

_CPUS = 0.001
"""Enough to keep replicas off a cluster's head that is started with `num-cpus: 0`."""

# Segments that grow keep mixed lengths from fragmenting the process's share of the GPU. Read when torch is imported.
_CUDA_ALLOCATOR = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
_NO_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "true"}


def deployment_name(task: Task, lane: Lane) -> str:
    """`embedder` on the GPU, `embedder-cpu` for its CPU replica."""
    return task if lane == "gpu" else f"{task}-cpu"


def replica_options(config: AppConfig, task: Task, lane: Lane, cluster_gpus: float) -> dict[str, Any]:
    """Options of one model's deployment on one lane.

    Hardly any CPU is booked: six replicas on two cores would wait for ever; threads are bounded in the engine instead.

    Requests that a replica has no place for wait in the ingress's handle, as many again as it has places: the work of a
    replica that is being replaced. Ray's default is any number; beyond ours callers get 429 with Retry-After.
    """
    env = {"OMP_NUM_THREADS": str(config.cpu.threads or os.cpu_count() or 1), **_NO_TELEMETRY}
    gpus = 0.0
    if lane == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""  # an actor without a GPU still sees all of them
    elif config.device != "simulated" or cluster_gpus:
        gpus = config.model_for(task).gpu_fraction
        env |= _CUDA_ALLOCATOR
    options: dict[str, Any] = {
        "name": deployment_name(task, lane),
        "num_replicas": config.cpu.replicas,
        "ray_actor_options": {"num_cpus": _CPUS, "num_gpus": gpus, "runtime_env": {"env_vars": env}},
        "max_ongoing_requests": config.serving.max_ongoing_requests,
        "max_queued_requests": config.serving.max_ongoing_requests,
        **_HEALTH,
    }
    if lane == "gpu":
        options |= {
            "num_replicas": config.gpu.replicas,
            "max_replicas_per_node": 1,  # decisions are per node: two replicas there would share one GPU and one fate
            "request_router_config": {"request_router_class": GpuNodeRouter},
        }
    return options


def ingress_options(config: AppConfig) -> dict[str, Any]:
    """Options of the ingress.

    Four times the places of a replica, since it serves three models and answers from its cache; the proxy holds as many
    again. What they may hold together is bounded by `limits.max_open_characters`, whose refusal comes long before the
    proxy's own, a 503 without Retry-After.
    """
    return {
        "name": "ingress",
        "num_replicas": config.serving.ingress_replicas,
        "ray_actor_options": {"num_cpus": _CPUS, "runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}},
        "max_ongoing_requests": 4 * config.serving.max_ongoing_requests,
        "max_queued_requests": 4 * config.serving.max_ongoing_requests,
        **_HEALTH,
        # One that is replaced finishes what it has, also where that waits for a model that is being replaced. Work of a
        # model that is cut off is done again; nobody does an ingress's work again.
        "graceful_shutdown_timeout_s": config.limits.request_timeout_s + 5.0,
    }
