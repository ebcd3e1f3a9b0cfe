"""Reports periodically what no event reports: queue lengths, memory, where a model's requests go."""

import asyncio
import logging
from collections.abc import Callable

from deployments.dispatcher import RayDispatcher
from deployments.lanes import OpenLane
from deployments.observability.metrics import report_memory
from deployments.options import deployment_name
from trivet.config import TASKS, Lane, Task
from trivet.metrics import LANE_ON_GPU, OOM_SPLITS, SNAPSHOT_AGE, MetricsSink

logger = logging.getLogger("ray.serve")

SAMPLE_EVERY_S = 2.0
"""Shorter than the interval of Ray's reports, which send the last sample."""


class Sampler:
    """Calls functions every `every_s` on the running event loop, which they must not block."""

    def __init__(self, *samples: Callable[[], None], every_s: float = SAMPLE_EVERY_S) -> None:
        self._samples = samples
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sampling."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sampler")

    def stop(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            for sample in self._samples:
                try:
                    sample()
                except Exception:
                    logger.exception("a periodic report failed; the next one is tried all the same")
            await asyncio.sleep(self._every_s)


class ReplicaSample:
    """Reports one model replica."""

    def __init__(self, sink: MetricsSink, open_lane: OpenLane, task: Task, lane: Lane) -> None:
        self._sink = sink
        self._lane = open_lane
        self._task = task
        self._process = deployment_name(task, lane)
        self._splits_reported = 0

    def __call__(self) -> None:
        """Take a sample."""
        self._lane.engine.scheduler.report_queue()
        report_memory(self._sink, self._process)
        if self._lane.gpu is not None:
            splits = self._lane.gpu.oom_splits
            self._sink.count(OOM_SPLITS, {"model": self._task}, splits - self._splits_reported)
            self._splits_reported = splits


class IngressSample:
    """Reports one ingress replica, and the lanes that it chooses."""

    def __init__(self, sink: MetricsSink, dispatcher: RayDispatcher) -> None:
        self._sink = sink
        self._dispatcher = dispatcher

    def __call__(self) -> None:
        """Take a sample."""
        report_memory(self._sink, "ingress")
        for task in TASKS:
            self._sink.set(LANE_ON_GPU, {"model": task}, float(self._dispatcher.lane(task) == "gpu"))
        age_s = self._dispatcher.snapshot_age_s()
        if age_s is not None:
            self._sink.set(SNAPSHOT_AGE, {}, age_s)
