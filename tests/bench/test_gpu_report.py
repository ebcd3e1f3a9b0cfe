"""The GPU tables of docs/benchmarks.md are those of the committed results."""

from bench.engine.gpu.report import BEGIN, END, PAGE, RESULTS, read, tables


def test_the_page_shows_the_committed_results() -> None:
    shown = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert shown.strip() == tables(read(RESULTS))
