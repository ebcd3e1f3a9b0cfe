"""The sets on repetitions and planted contradictions: complete, distinct, and not in the training."""

from pathlib import Path

from research import repetition
from research.classifier.paragraphs import read_paragraphs
from research.classifier.statements import read_statements, written


def _words(text: str) -> int:
    return len(text.split())


def test_there_are_thirty_pairs_in_other_words_and_thirty_with_trifles_that_training_does_not_show() -> None:
    reworded, equal = repetition.restatements()
    assert len(set(reworded)) == len(set(equal)) == 30
    shown = {text for one in written() for text in (*one.said, *one.opposed, *one.beside)}
    assert not shown & {text for pair in (*reworded, *equal, *repetition.contradicting_pairs()) for text in pair}


def test_statements_and_paragraphs_of_the_evaluation_are_not_in_the_training() -> None:
    held, shown = read_statements(repetition.STATEMENTS), written()
    assert len(held) == 40
    assert all(len(one.said) == 3 for one in held)
    texts = {text for one in held for text in (*one.said, *one.opposed, *one.beside)}
    assert not texts & {text for one in shown for text in (*one.said, *one.opposed, *one.beside)}
    blocks, trained = read_paragraphs(repetition.PARAGRAPHS), read_paragraphs()
    assert (len(blocks), len(trained)) == (33, 167)
    texts = {text for one in blocks for text in (one.text, one.again, one.conflict, one.other)}
    assert not texts & {text for one in trained for text in (one.text, one.again, one.conflict, one.other)}


def test_sentences_of_the_docs_are_running_text_and_always_the_same() -> None:
    found = repetition.docs_sentences()
    assert len(set(found)) == repetition.DOCS_SENTENCES
    assert found == repetition.docs_sentences()
    assert all(s.endswith(".") and not s.startswith(("#", "-")) for s in found)


def test_code_and_tables_of_a_page_are_not_sentences(tmp_path: Path) -> None:
    code = "```sh\nThis is code and ends like that.\n```"
    page = f"# A title\n\nThis is a sentence of six words.\n\n{code}\n\n| a | b |\n"
    (tmp_path / "page.md").write_text(page)
    assert repetition.docs_sentences(tmp_path) == ["This is a sentence of six words."]


def test_a_planted_contradiction_is_the_only_difference_between_the_passages() -> None:
    cases = repetition.planted(_words, 150)
    assert len(cases) == 40
    for case, (first, second) in zip(cases, repetition.contradicting_pairs(), strict=True):
        around, with_it, without, again = (
            set(text.splitlines()) for text in (case.around, case.contradicting, case.without, case.repeating)
        )
        assert case.statement == first
        assert with_it - without == {second}
        assert again - without == {first}
        assert first in around
        assert not (around & with_it)  # what both sides hold would be a repetition
        assert 120 <= _words(case.around) <= 150
        assert 120 <= _words(case.without) + _words(first) <= 150


def test_planting_is_repeatable() -> None:
    assert repetition.planted(_words, 60) == repetition.planted(_words, 60)
