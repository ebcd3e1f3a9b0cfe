"""Tiny checkpoints in the layout in which models are published, one module per family.

Each writer makes a folder with what the repository of a published model holds, at a size that loads in no time: the
field names of its `config.json` (nested ones and those of remote code included), its tensor names and prefixes, its
`modules.json` with the folders of the modules, the limits and prompts of sentence-transformers, and a tokenizer of the
same kind. Only sizes and numbers differ: weights are random and seeded, vocabularies hold a few hundred entries.

They do *not* answer sensibly. They show whether a loader understands a layout: `tests/models` compares what this
project makes of each folder with what the reference library makes of it.
"""
