"""The CPU backend: OpenVINO runs converted models, kept in a cache on disk. Only `export` imports torch."""
