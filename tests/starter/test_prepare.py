"""`prepare_starter` with the models that the repository ships."""

import subprocess
import sys
from pathlib import Path

import pytest

import trivet.starter
from trivet.starter import prepare_starter
from trivet.starter.base import base_model_dir
from trivet.starter.card import read_card

SHIPPED = Path(trivet.starter.__file__).parent
TRAINED_TASKS = sorted(p.parent.name for p in SHIPPED.glob("*/model.json"))

RETRY_QUERY = "how do I retry a failed HTTP request"
RETRY_PASSAGES = [
    "Knead the dough for ten minutes, let it rise, then bake the bread at 230 degrees.",
    "When a call fails with a timeout or a 503, send the request again after a delay that doubles each time "
    "(exponential backoff), at most five times.",
    "A CSS grid lays out its children in rows and columns; grid-template-columns sets the width of each track.",
    "A database index lets a query find rows by a column's value without reading the whole table.",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starter")


def test_the_embedder_is_the_package_as_it_is(cache: Path) -> None:
    assert prepare_starter("embedder", cache) == base_model_dir()
    assert (base_model_dir() / "modules.json").is_file()


def test_an_unknown_task_is_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match="embedder, reranker, classifier"):
        prepare_starter("summariser", cache)  # type: ignore[arg-type]


@pytest.mark.slow
def test_preparing_needs_no_torch_transformers_or_ray() -> None:
    code = (
        "import sys, trivet.starter; print(sorted({'torch', 'transformers', 'ray', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_shipped_models_are_small_described_and_measured(task: str) -> None:
    card = read_card(SHIPPED / task / "model.json")
    assert card.task == task
    assert card.metrics
    assert (SHIPPED / task / "delta.safetensors").stat().st_size <= 11_000_000
    text = (SHIPPED / task / "README.md").read_text()
    for heading in ("Data", "Figures", "Limits", "Licence"):
        assert f"## {heading}" in text


@pytest.mark.slow
@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_shipped_models_load_with_transformers(task: str, cache: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model, report = AutoModelForSequenceClassification.from_pretrained(
        prepare_starter(task, cache), output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.id2label == read_card(SHIPPED / task / "model.json").id2label


@pytest.mark.slow
def test_the_reranker_puts_retrying_first(cache: Path) -> None:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(prepare_starter("reranker", cache)), device="cpu")
    ranking = model.rank(RETRY_QUERY, RETRY_PASSAGES)
    assert ranking[0]["corpus_id"] == 1
    scores = [float(r["score"]) for r in ranking]
    assert all(0.0 <= s <= 1.0 for s in scores)
    assert scores[0] > 2 * scores[1]
