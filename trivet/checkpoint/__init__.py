"""Checkpoint folders: where they come from, and everything that their files say without the weights.

Needs neither the engine nor a deep-learning framework. Only `unpickle` imports torch, in a process of its own.
"""
