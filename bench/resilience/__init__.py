"""Stress, a squeezed GPU, and how memory behaves."""
