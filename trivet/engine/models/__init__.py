"""Torch-side models and their conversion. A serving CPU replica imports nothing from here that needs torch."""
