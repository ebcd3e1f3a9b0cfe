"""Trivet on Ray Serve: thin wrappers around the library. The only package that imports ray."""
