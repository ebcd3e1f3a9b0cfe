"""Measures the quality and the latency of the three models on labelled texts, for `trivet eval`.

`sets` defines labelled sets, `files` and `bundled` read them, `measure` sends the requests, `metrics` computes the
figures, and `report` and `plot` show them.
"""
