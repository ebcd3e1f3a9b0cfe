"""Trivet's own routes, one file each."""
