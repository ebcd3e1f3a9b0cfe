"""Decides which sequences run together and when, and runs them."""
