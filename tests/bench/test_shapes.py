import json
from pathlib import Path

import pytest

from bench.engine.shapes import read_cost


def written(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_cost_of_a_dense_encoder(tmp_path: Path) -> None:
    path = written(tmp_path, model_type="bert", hidden_size=2, intermediate_size=8, num_hidden_layers=3)
    # Per layer 4·2·2 + 2·2·8 = 48 weights, two operations each; attention 4·H·L per query.
    assert read_cost(path).flop(10) == 3 * (2 * 48 * 10 + 4 * 2 * 10 * 10)


def test_local_layers_cost_their_window_only(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        model_type="modernbert",
        hidden_size=2,
        intermediate_size=4,
        num_hidden_layers=3,
        local_attention=6,
        global_attn_every_n_layers=3,
    )
    linear = 2 * 3 * (4 * 2 * 2 + 3 * 2 * 4) * 100
    assert read_cost(path).flop(100) == linear + 4 * 2 * 100 * (100 + 7 + 7)


def test_only_the_experts_that_a_token_meets_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        model_type="nomic_bert",
        n_embd=2,
        n_inner=8,
        n_layer=2,
        moe_every_n_layers=2,
        moe_top_k=2,
        num_experts=8,
    )
    weights = 2 * 4 * 2 * 2 + (1 + 2) * 2 * 2 * 8 + 8 * 2
    assert read_cost(path).flop(1) == 2 * weights + 2 * 4 * 2


def test_an_unknown_model_has_no_cost(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="t5"):
        read_cost(written(tmp_path, model_type="t5"))
