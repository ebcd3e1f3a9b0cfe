"""The deployment graph, which `serve run serve_config.yaml` gets from `build`. Wiring only.

No `from __future__ import annotations` here: Ray 2.60 reads the type of `args` from the signature at run time. With
postponed annotations it would pass a raw dict without validating it.
"""

import logging
import os
import uuid
from collections.abc import Sequence
from typing import Any

import ray
from ray import serve

from deployments.classifier import Classifier
from deployments.embedder import Embedder
from deployments.environment.variables import explain, missing_variables, shipped_variables
from deployments.ingress import Ingress
from deployments.lanes import bound_lanes
from deployments.nodes import gpus_per_node
from deployments.options import ingress_options, replica_options
from deployments.replica import ModelReplica
from deployments.reranker import Reranker
from trivet.config import AppConfig, Task
from trivet.gpu import torch_without_cuda

logger = logging.getLogger("ray.serve")

MODELS: tuple[type[ModelReplica], ...] = (Embedder, Reranker, Classifier)


def deployment(cls: type, options: dict[str, Any]) -> serve.Deployment:
    """Make a Serve deployment of a class with these options."""
    made: serve.Deployment = serve.deployment(**options)(cls)
    return made


def build(args: AppConfig) -> serve.Application:
    """Build the application that `serve_config.yaml` names, and log which of Ray's variables the cluster lacks."""
    log_missing_variables()
    return graph(args, MODELS)


def graph(args: AppConfig, models: Sequence[type[ModelReplica]]) -> serve.Application:
    """Bind each model on every lane that this cluster has, and the ingress to them.

    Raises:
        ConfigError: the configuration asks for a GPU that the cluster does not have.
    """
    cluster_gpus = float(ray.cluster_resources().get("GPU", 0.0))
    lanes = bound_lanes(args, cluster_gpus, torch_without_cuda())
    run_id = uuid.uuid4().hex[:12]
    handles: dict[Task, dict[str, serve.Application]] = {
        model.task: {
            lane: deployment(model, replica_options(args, model.task, lane, cluster_gpus, gpus_per_node())).bind(
                args, lane, run_id
            )
            for lane in lanes
        }
        for model in models
    }
    return deployment(Ingress, ingress_options(args)).bind(args, handles, run_id)


def log_missing_variables() -> None:
    """Log the variables that Ray was started without; `build` runs in the cluster and so has Ray's environment."""
    missing = missing_variables(shipped_variables(), os.environ)
    if missing:
        logger.warning("%s", explain(missing))
