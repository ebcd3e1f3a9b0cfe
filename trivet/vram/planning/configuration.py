"""Writes a plan as a Serve configuration file. Pure."""

import json
import re
import shlex
from collections.abc import Sequence

from trivet.checkpoint.known_prompts import known_prompts
from trivet.config import TASKS, CpuConfig
from trivet.vram.planning.planner import Plan

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_HEAD = """\
# Written by `trivet plan`. Keys that are not here keep their defaults; `trivet init` lists all of them.
# First: trivet prepare --config {file}; then: trivet serve --config {file}

http_options:
  host: 127.0.0.1
  port: 8000
  request_timeout_s: 310

logging_config:
  encoding: JSON
  enable_access_log: false

applications:
  - name: trivet
    route_prefix: /
    import_path: app:build
    args:
      device: {device}
"""


def configuration(names: Sequence[str], plan: Plan | None, cpu: CpuConfig, *, file: str) -> str:
    """Return the text of a configuration for an embedder, a reranker and a classifier.

    Args:
        names: the three models, in that order, as `model` accepts them.
        plan: of these models in the same order; None: they run on the CPU.
        cpu: the CPU lane; what has its default value is left out.
        file: the name under which it will be written, for the comment at its head.
    """
    text = _HEAD.format(file=shlex.quote(file), device="cpu" if plan is None else "auto")
    for position, (task, name) in enumerate(zip(TASKS, names, strict=True)):
        text += f"      {task}:\n        model: {_quoted(name)}\n"
        if task == "embedder" and (prompts := known_prompts(name)):
            text += f"        prompts: {json.dumps(dict(prompts), ensure_ascii=False)}  # as its model card asks\n"
        if plan is not None:
            text += f"        gpu_fraction: {plan.models[position].num_gpus:.3f}\n"
    if plan is not None:
        text += f"      gpu:\n        token_budget: {max(model.budget_tokens for model in plan.models)}\n"
        text += f"        dtype: {_dtype(plan)}\n"
    settings = ""
    if cpu.precision != CpuConfig().precision:
        settings += f"        precision: {cpu.precision}\n"
    if cpu.replicas != CpuConfig().replicas:
        settings += f"        replicas: {{min: {cpu.replicas.min}, max: {cpu.replicas.max}}}\n"
    text += f"      cpu:\n{settings}" if settings else ""
    return text


def _quoted(name: str) -> str:
    """A name as YAML: a hub id as it is, a folder, which may have any name, in quotes."""
    return name if _HUB_ID.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _dtype(plan: Plan) -> str:
    """The precision of all models; `auto` where one of them is computed in another, as `auto` does."""
    dtypes = {model.dtype for model in plan.models}
    return dtypes.pop() if len(dtypes) == 1 and all(model.dtype_because is None for model in plan.models) else "auto"
