"""VRAM management: a probe reads the GPU, a pure policy decides, and a planner divides the memory among models.

Imports neither Ray nor the engine. Start reading at `types` (the data), `policy` (the decisions) and docs/vram.md.
"""
