"""Compares a model as it is served with the library for which it was published, on the same machine and texts."""
