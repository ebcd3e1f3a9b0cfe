"""VRAM that is known, budgeted and yielded: probe → pure policy → decisions; planner; simulated GPU.

Imports neither ray nor any engine. Start reading at `types` (the nouns), `policy` (the decisions) and docs/vram.md.
"""
