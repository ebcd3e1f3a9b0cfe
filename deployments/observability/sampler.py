"""Reports what has no event to report it: what waits, what is held, where a model's requests go."""

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
"""Several samples to each of Ray's reports, of which the last one counts."""


class Sampler:
    """Calls a function every so often on the running event loop, which it must not hold up."""

    def __init__(self, sample: Callable[[], None], every_s: float = SAMPLE_EVERY_S) -> None:
        self._sample = sample
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sampler")

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                self._sample()
            except Exception:
                logger.exception("a sample of the metrics failed; the next one is tried all the same")
            await asyncio.sleep(self._every_s)


class ReplicaSample:
    """One model replica about itself."""

    def __init__(self, sink: MetricsSink, open_lane: OpenLane, task: Task, lane: Lane) -> None:
        self._sink = sink
        self._lane = open_lane
        self._task = task
        self._process = deployment_name(task, lane)
        self._splits_reported = 0

    def __call__(self) -> None:
        """Report."""
        self._lane.engine.scheduler.report_queue()
        report_memory(self._sink, self._process)
        if self._lane.gpu is not None:
            splits = self._lane.gpu.oom_splits
            self._sink.count(OOM_SPLITS, {"model": self._task}, splits - self._splits_reported)
            self._splits_reported = splits


class IngressSample:
    """One ingress replica: itself, and the decisions as it obeys them."""

    def __init__(self, sink: MetricsSink, dispatcher: RayDispatcher) -> None:
        self._sink = sink
        self._dispatcher = dispatcher

    def __call__(self) -> None:
        """Report."""
        report_memory(self._sink, "ingress")
        for task in TASKS:
            self._sink.set(LANE_ON_GPU, {"model": task}, float(self._dispatcher.lane(task) == "gpu"))
        age_s = self._dispatcher.snapshot_age_s()
        if age_s is not None:
            self._sink.set(SNAPSHOT_AGE, {}, age_s)
