"""Trivet: embedding, reranking and relation classification that share one small GPU.

This package is the library: batching, VRAM policy, engine, relations and the HTTP application.
It never imports ray; the folder `deployments/` places it on a cluster.
"""

__version__ = "0.1.0"
