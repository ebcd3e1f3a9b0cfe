"""Training of the starter reranker."""
