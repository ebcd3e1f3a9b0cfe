"""The graph of `app.py` with engines that answer at once; import path `bench.serving.noop_app:build`."""

from ray import serve

import app
from bench.serving.noop import open_noop_engine
from deployments.classifier import Classifier
from deployments.embedder import Embedder
from deployments.open_lane import OpenLane
from deployments.replica import ModelReplica
from deployments.reranker import Reranker
from trivet.config import AppConfig, Lane


class _Noop(ModelReplica):
    def _open(self, config: AppConfig, lane: Lane, run_id: str, gpu: str | None) -> OpenLane:
        return OpenLane(open_noop_engine(config, self.task))


class NoopEmbedder(_Noop, Embedder): ...


class NoopReranker(_Noop, Reranker): ...


class NoopClassifier(_Noop, Classifier): ...


def build(args: AppConfig) -> serve.Application:
    """As `app.build`; `device` must be `cpu`."""
    return app.graph(args, (NoopEmbedder, NoopReranker, NoopClassifier))
