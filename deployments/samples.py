"""What the ingress and a replica report periodically: queue lengths, memory, where a model's requests go."""

from deployments.dispatcher import RayDispatcher
from deployments.observability.metrics import report_memory
from deployments.open_lane import OpenLane
from deployments.options import deployment_name
from trivet.config import TASKS, Lane, Task
from trivet.metrics import LANE_ON_GPU, OOM_SPLITS, SNAPSHOT_AGE, MetricsSink


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
