"""`trivet verify`: what counts as agreement, the texts, and the command on a small checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from tests.support.conversions import convert_here
from tests.support.published import bert
from trivet.checkpoint.description import ModelFiles
from trivet.cli import main
from trivet.config import AppConfig
from trivet.errors import ModelError
from trivet.evaluation.files import BadSet
from trivet.evaluation.verify.agreement import BOUNDS, compare_logits, compare_scores, compare_vectors, rank_agreement
from trivet.evaluation.verify.reference import NoReference, Reference
from trivet.evaluation.verify.texts import bundled_texts, fitting, read_texts

RNG = np.random.default_rng(0)
VECTORS = [row.astype(np.float32) for row in RNG.standard_normal((6, 32))]


def test_equal_vectors_agree_at_every_precision() -> None:
    for bounds in BOUNDS.values():
        found = compare_vectors("vectors", VECTORS, VECTORS, bounds)
        assert found.agrees
        assert (found.compared, found.difference, found.rank_agreement) == (6, 0.0, pytest.approx(1.0))


def test_other_vectors_differ_and_the_bound_is_named() -> None:
    found = compare_vectors("vectors", VECTORS, [-one for one in VECTORS], BOUNDS["int8"])
    assert found.cosine == pytest.approx(-1)
    assert found.problems == ("cosine -1.0000 is below 0.95",)


def test_another_number_of_token_vectors_is_a_difference() -> None:
    tokens = [RNG.standard_normal((4, 8)).astype(np.float32)]
    found = compare_vectors("vectors of tokens", tokens, [tokens[0][:3]], BOUNDS["fp32"])
    assert "4 vectors of 8 numbers" in found.problems[0]


def test_scores_are_bounded_by_their_difference_and_logits_by_their_order() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)
    assert compare_scores("scores", scores, scores + 0.01, BOUNDS["bf16"]).agrees
    assert not compare_scores("scores", scores, scores + 0.01, BOUNDS["fp32"]).agrees
    logits = np.array([[3.0, -1.0, 2.0]], np.float32)
    assert compare_logits("logits", logits, 2 * logits, BOUNDS["fp32"]).agrees
    assert not compare_logits("logits", logits, -logits, BOUNDS["int8"]).agrees
    assert not compare_logits("logits", np.full((1, 3), np.nan, np.float32), logits, BOUNDS["int8"]).agrees


def test_orders() -> None:
    assert rank_agreement(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert rank_agreement(np.array([3.0, 2, 1]), np.array([10.0, 20, 30])) == pytest.approx(-1)
    assert rank_agreement(np.array([1.0, 2]), np.array([5.0, 5])) == 1.0
    assert rank_agreement(np.array([1.0, 1]), np.array([5.0, 6])) == 0.0


def test_texts_of_a_file(tmp_path: Path) -> None:
    lines, objects = tmp_path / "a.txt", tmp_path / "a.jsonl"
    lines.write_text("one\n\ntwo\n")
    objects.write_text('{"text": "one"}\n{"text": "two"}\n')
    assert read_texts(lines) == read_texts(objects) == ["one", "two"]
    for content in ('{"text": ""}\n', '{"no": 1}\n', "[]\n", '{"text": "one"}\n'):
        objects.write_text(content)
        with pytest.raises(BadSet):
            read_texts(objects)
    with pytest.raises(BadSet, match="No such file"):
        read_texts(tmp_path / "none.txt")


def test_only_a_line_feed_ends_a_text(tmp_path: Path) -> None:
    lines, objects = tmp_path / "a.txt", tmp_path / "a.JSONL"
    lines.write_text("\ufeffone\x0cstill one\u2028\r\n\r\ntwo\n", newline="")
    objects.write_text('\ufeff{"text": "one\u2028"}\n{"text": "two"}\n')
    assert read_texts(lines) == ["one\x0cstill one\u2028", "two"]
    assert read_texts(objects) == ["one\u2028", "two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [('{"text": "one"}\n\n\nno', ":4: "), ('{"text":' * 99_999, ":1: "), ('{"text": "\\ud800"}\n', ":1: ")],
)
def test_a_line_that_is_no_text_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(content)
    with pytest.raises(BadSet, match=said):
        read_texts(file)


def test_numbers_that_are_none_differ() -> None:
    reference = np.arange(20, dtype=np.float32)[None, :]
    served = reference.copy()
    served[0, -1] = np.nan  # the largest, where a rank would be right
    assert not compare_logits("logits", served, reference, BOUNDS["bf16"]).agrees


def test_without_a_file_the_shipped_configuration_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []

    def no_model(config: AppConfig, *_others: object) -> None:
        asked.append(config.embedder.model)
        raise ModelError("none here")

    monkeypatch.setattr("trivet.evaluation.verify.run.verify_model", no_model)
    assert CliRunner().invoke(main, ["verify"]).exit_code == 1
    assert asked == ["starter"]


def test_bundled_texts_are_of_many_lengths() -> None:
    texts = bundled_texts()
    assert len(set(texts)) == len(texts) == 16
    assert {len(text.split()) for text in texts} >= {4, 110}
    assert fitting(["a", "b", "c"], [1, 2, 1]) == [0, 2]


def test_a_model_with_remote_code_has_no_reference(tmp_path: Path) -> None:
    bert.write_minilm(tmp_path)
    files = ModelFiles.read(tmp_path, "embedder")
    config = {**files.architecture.config, "position_embedding_type": "alibi"}
    changed = replace(files, architecture=replace(files.architecture, config=config))
    with pytest.raises(NoReference, match="remote code"):
        Reference(changed, "cpu")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    bert.write_minilm(tmp_path / "model")
    arguments = {
        "embedder": {"model": str(tmp_path / "model")},
        "cpu": {"precision": "fp32"},
        "serving": {"cache_dir": str(tmp_path / "cache")},
    }
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"args": arguments}]}))
    return file


@pytest.mark.slow
def test_the_command_agrees_and_notices_another_model(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the parser reads a value\none argument\n" + "the parser reads a value " * 200 + "\nlast\n")
    convert_here(tmp_path / "model", "embedder", "fp32", tmp_path / "cache")
    asked = ["verify", str(config), "--model", "embedder", "--lane", "cpu", "--texts", str(texts)]
    ran = CliRunner().invoke(main, [*asked, "--json"])
    assert ran.exit_code == 0, ran.output
    verdict = json.loads(ran.stdout.splitlines()[-1])
    [vectors] = verdict["agreements"]
    assert verdict["reference"] == "SentenceTransformer"
    assert (vectors["compared"], verdict["windowed"]) == (3, 1)
    assert vectors["cosine"] > 0.9999
    assert vectors["difference"] < 1e-4

    # The reference reads other weights than those that were converted.
    weights = tmp_path / "model" / "model.safetensors"
    cached = Reference._loaded

    def other(self: Reference) -> object:
        tensors = load_file(weights)
        changed = {name: -one if "query" in name else one for name, one in tensors.items()}
        save_file(changed, weights, metadata={"format": "pt"})
        return cached(self)

    monkeypatch.setattr(Reference, "_loaded", other)
    ran = CliRunner().invoke(main, asked)
    assert ran.exit_code == 1
    assert "DIFFERS from SentenceTransformer" in ran.stdout


def test_a_wrong_command_line_is_refused(config: Path) -> None:
    for wrong in (["--model", "embedders"], ["--lane", "tpu"], ["--texts", "none.txt"]):
        assert CliRunner().invoke(main, ["verify", str(config), *wrong]).exit_code == 2


def test_a_gpu_that_is_not_here_is_one_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("trivet.evaluation.verify.run.prepare_model", None)  # nothing is prepared in vain
    ran = CliRunner().invoke(main, ["verify", str(config), "--lane", "gpu", "--model", "embedder"])
    assert ran.exit_code == 1
    assert "finds no GPU here" in ran.stderr
