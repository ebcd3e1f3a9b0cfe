"""Trivet on Ray Serve: thin shells around the library. The only package that imports ray."""
