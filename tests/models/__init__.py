"""Models people use, and what this project makes of each: exact, refused, failed, wrong or absent.

`table` has a row for every published layout: who writes its checkpoint (`tests.support.published`), which reference
knows the right answers (`library` and `formulas`), and the state on each of two paths (`lanes`). `observe` serves a
checkpoint, asks it everything and compares; `test_states` holds the table to what it finds. `cases` has the reported
inputs that need HTTP. `render` writes STATES.md.

To put a row right: change the project, run the row, set its state in `table`, run ``python -m tests.models.render``.

    python -m pytest tests/models -n 0 -k "bge-m3 and torch"

To add a model: a writer in its family's module, and a row.
"""
