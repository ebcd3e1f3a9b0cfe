"""Templates of rerankers: texts go in as they are, and a template that does more is refused."""

from pathlib import Path

import pytest

from trivet.checkpoint.templates import KNOWN, PairTemplate, known_name, read_chat_template
from trivet.errors import ModelError

ROLES = '{%% set %s = messages | selectattr("role", "eq", "%s") | map(attribute="content") | first %%}'
BOTH = ROLES % ("query", "query") + ROLES % ("document", "document")


def read(folder: Path, template: str) -> PairTemplate:
    (folder / "chat_template.jinja").write_text(BOTH + template)
    return read_chat_template(folder)


def test_a_chat_template_becomes_the_text_around_both(tmp_path: Path) -> None:
    template = read(tmp_path, "Q: {{ query }}\nD: {{ document }}!")
    assert template.texts("a", "b") == ("Q: a\nD: b!",)
    assert template.around() == (("Q: ",), ("\nD: ",), ("!",))


def test_marks_within_a_text_are_text(tmp_path: Path) -> None:
    assert read(tmp_path, "{{ query }}|{{ document }}").texts("{document}", "{query}") == ("{document}|{query}",)


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{ document }}{{ query }}", "once"),
        ("{{ query }}", "once"),
        ("{{ query }}{{ document }}{{ document }}", "once"),
        ("{{ query | trim }}{{ document }}", "changes the texts"),
        ("{{ query }}{{ document }}{{ raise }}{% bad %}", "cannot be rendered"),
        ("{{ query }}{{ document }}{{ ''.__class__.__mro__ }}", "cannot be rendered"),
    ],
)
def test_a_template_that_does_more_is_refused(tmp_path: Path, template: str, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        read(tmp_path, template)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"chat_template\.jinja is missing"):
        read_chat_template(tmp_path)


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_template_has_both_texts_in_order(name: str) -> None:
    texts = "".join(KNOWN[name].template.texts("«q»", "«d»"))
    assert texts.count("«q»") == texts.count("«d»") == 1
    assert texts.index("«q»") < texts.index("«d»")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", "qwen3-reranker"),
        ("tomaarsen/Qwen3-Reranker-4B-seq-cls", "qwen3-reranker"),
        ("mixedbread-ai/mxbai-rerank-base-v2", "mxbai-rerank-v2"),
        ("mixedbread-ai/mxbai-rerank-base-v1", None),
        ("BAAI/bge-reranker-v2-gemma", "bge-reranker-v2-gemma"),
        ("BAAI/bge-reranker-v2-m3", None),
    ],
)
def test_published_names_choose_their_template(model: str, name: str | None) -> None:
    assert known_name(model) == name
