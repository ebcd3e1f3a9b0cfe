"""Computes which models fit on a GPU, and the configuration with which they fit. Pure."""
