"""How well a trio of models does on labelled texts, and how long it takes: what `trivet eval` measures.

`sets` says what a labelled set is, `files` and `bundled` read them, `measure` asks a service, `metrics` computes,
`report` and `plot` show.
"""
