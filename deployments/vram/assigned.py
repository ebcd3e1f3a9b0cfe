"""Asks the node's VRAM actor which GPU a new replica takes."""

import asyncio
import logging
import os

from ray.exceptions import RayError

from deployments.nodes import this_node
from deployments.vram.actor import vram_actor
from trivet.config import AppConfig, Task

logger = logging.getLogger("ray.serve")

_RETRY_S = 0.5


async def take_gpu(task: Task, app_name: str, config: AppConfig, run_id: str) -> str | None:
    """Return the UUID of the GPU that this process takes; None if its node has only one.

    Waits while every GPU of the node that the model may use has a replica of it already, or is lost.
    """
    told = ""
    while True:
        try:
            actor = await asyncio.to_thread(vram_actor, this_node(), app_name, config, run_id)
            assignment = await actor.assign.remote(os.getpid(), task)
        except RayError as error:  # the actor restarts within a second
            waits_for = f"the VRAM actor does not answer ({type(error).__name__})"
        else:
            if assignment.waits_for is None:
                return assignment.gpu
            waits_for = assignment.waits_for
        if waits_for != told:
            logger.warning("%s: a new GPU replica waits: %s", task, waits_for)
            told = waits_for
        await asyncio.sleep(_RETRY_S)
