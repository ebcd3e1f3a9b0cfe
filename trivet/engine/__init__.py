"""Computes vectors and scores of texts on one device. docs/architecture.md shows its parts and their order."""
