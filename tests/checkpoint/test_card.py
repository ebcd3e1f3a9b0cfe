"""Licence and languages of a card, and cards that state nothing."""

from pathlib import Path

import pytest

from trivet.checkpoint.card import StatedFacts, weights_bytes


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: apache-2.0\nlanguage: en", StatedFacts("apache-2.0", ("en",))),
        ("license: mit\nlanguage:\n- en\n- no\ntags: [x]", StatedFacts("mit", ("en", "no"))),
        ("license: other\nlicense_name: gemma", StatedFacts("gemma", ())),
        ("license: other", StatedFacts("other", ())),
        ("- a list", StatedFacts()),
        ("license: [unclosed", StatedFacts()),
    ],
)
def test_the_front_matter_is_read(tmp_path: Path, front: str, expected: StatedFacts) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# A model\n---\n")
    assert StatedFacts.read(tmp_path) == expected


@pytest.mark.parametrize("content", [None, "# A model\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", ""])
def test_a_card_without_front_matter_states_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "README.md").write_text(content)
    assert StatedFacts.read(tmp_path) == StatedFacts()


def test_the_weights_of_all_shards_count(tmp_path: Path) -> None:
    assert weights_bytes(tmp_path) is None
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"12345")
    index = '{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert weights_bytes(tmp_path) == 10
