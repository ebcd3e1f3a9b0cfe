import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.vram.fakes import GIB, MIB
from trivet.checkpoint.memory import ModelFacts, facts_from_config
from trivet.config import CpuConfig
from trivet.errors import ConfigError, ModelError
from trivet.gpu import allocator_bytes
from trivet.vram.errors import DoesNotFit
from trivet.vram.planning.configuration import configuration
from trivet.vram.planning.facts import CATALOGUE, facts_for
from trivet.vram.planning.planner import Assumptions, Plan, nearest_preset, needed, plan
from trivet.vram.planning.presets import PRESETS
from trivet.vram.planning.table import HEADER, render, rows

FLAGSHIP = tuple(CATALOGUE[name] for name in PRESETS["8gb"].models)


def test_the_flagship_models_fit_eight_gib_at_16_bits() -> None:
    made = plan(FLAGSHIP, 8 * GIB, dtype="bf16")
    assert [model.budget_tokens for model in made.models] == [16_384] * 3
    assert sum(model.num_gpus for model in made.models) < 0.7
    weights_gb = [round(model.weights_bytes / 1e9, 2) for model in made.models]
    assert weights_gb == [0.95, 0.56, 0.79]


def test_a_smaller_gpu_lowers_all_budgets_equally() -> None:
    for gpu_mib, common in ((6 * 1024, 11_008), (5.5 * 1024, 5_120)):
        made = plan(FLAGSHIP, int(gpu_mib * MIB))
        embedder, reranker, classifier = (model.budget_tokens for model in made.models)
        assert embedder == reranker == common
        assert classifier == max(8192, common), "never less than one of its longest sequences"


def test_a_refusal_states_the_numbers_and_a_remedy() -> None:
    with pytest.raises(DoesNotFit) as refused:
        plan(FLAGSHIP, 4 * GIB)
    message = refused.value.message
    assert "5.2 GiB needed" in message
    assert "2.1 GiB weights at bf16" in message
    assert "the GPU has 4 GiB: 1.2 GiB short" in message
    assert message.endswith("The nearest preset that fits is cpu.")
    assert refused.value.needed_bytes - refused.value.gpu_bytes > GIB


@pytest.mark.parametrize(
    ("gpu_gib", "external_gib", "preset"),
    [
        (24, 0, "24gb"),
        (16, 0, "12gb"),
        (8, 0, "8gb"),
        (6, 0, "8gb --smaller"),
        (4, 0, "cpu"),
        (8, 4, "cpu"),
        (12, 6, "12gb"),
        (10, 5, "12gb --smaller"),
        (10, 0, "8gb"),  # rather than the smaller models of 12gb
    ],
)
def test_the_nearest_preset_is_the_most_demanding_that_fits(gpu_gib: int, external_gib: int, preset: str) -> None:
    assume = Assumptions(external_bytes=external_gib * GIB)
    assert nearest_preset(gpu_gib * GIB, "bf16", assume) == preset


@pytest.mark.parametrize("preset", [preset for preset in PRESETS.values() if preset.gpu_bytes])
@pytest.mark.parametrize("smaller", [False, True])
def test_every_preset_fits_the_gpu_it_is_named_for(preset, smaller) -> None:  # type: ignore[no-untyped-def]
    names = preset.smaller_models if smaller else preset.models
    assume = Assumptions(external_bytes=preset.external_bytes)
    made = plan([CATALOGUE[name] for name in names], preset.gpu_bytes, assumptions=assume)
    assert all(model.budget_tokens >= 8192 for model in made.models)


MODELS = st.builds(
    ModelFacts,
    name=st.uuids().map(str),
    parameters=st.integers(1_000_000, 1_500_000_000),
    hidden=st.sampled_from([256, 384, 768, 1024, 2048]),
    feed_forward=st.sampled_from([1024, 2624, 3072, 8192]),
    heads=st.sampled_from([4, 12, 16]),
    max_tokens=st.sampled_from([100, 256, 512, 8192]),
    gated=st.booleans(),
    attention=st.sampled_from(["fused", "eager"]),
    measured_activation_bytes_per_token=st.one_of(st.none(), st.integers(1, 500_000)),
)
ASSUMPTIONS = st.builds(
    Assumptions,
    context_bytes=st.integers(0, 800 * MIB),
    driver_bytes=st.integers(0, GIB),
    kept_free_bytes=st.integers(0, 2 * GIB),
    external_bytes=st.integers(0, 12 * GIB),
    max_budget_tokens=st.integers(1, 65_536),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(MODELS, min_size=1, max_size=4, unique_by=lambda facts: facts.name),
    st.integers(GIB, 48 * GIB),
    st.sampled_from(["bf16", "fp16", "fp32"]),
    ASSUMPTIONS,
)
def test_a_plan_never_exceeds_the_gpu_and_a_refusal_is_never_wrong(models, gpu_bytes, dtype, assume) -> None:  # type: ignore[no-untyped-def]
    needed_bytes = needed(models, dtype, assume)
    if needed_bytes > gpu_bytes:
        with pytest.raises(DoesNotFit) as refused:
            plan(models, gpu_bytes, dtype=dtype, assumptions=assume)
        assert (refused.value.needed_bytes, refused.value.gpu_bytes) == (needed_bytes, gpu_bytes)
    else:
        check_plan(plan(models, gpu_bytes, dtype=dtype, assumptions=assume), models)


def check_plan(made: Plan, models: list[ModelFacts]) -> None:
    assume = made.assumptions
    set_aside = assume.driver_bytes + assume.external_bytes + assume.kept_free_bytes
    assert made.taken_bytes + set_aside <= made.gpu_bytes
    assert made.unplanned_bytes == made.gpu_bytes - made.taken_bytes - set_aside
    assert sum(model.num_gpus for model in made.models) <= 1.0 + 0.001 * len(models)
    for model, facts in zip(made.models, models, strict=True):
        assert model.budget_tokens >= facts.max_tokens
        spent = model.weights_bytes + assume.workspace_bytes + model.activation_bytes
        assert spent == model.cap_bytes
        assert 0 < model.memory_fraction <= 1
        assert int(model.memory_fraction * made.gpu_bytes) in (model.cap_bytes, model.cap_bytes - 1)
        served_bytes = allocator_bytes(model.num_gpus, made.gpu_bytes, model.context_bytes)
        assert 0 <= served_bytes - model.cap_bytes <= made.gpu_bytes // 1000  # the share is rounded up to thousandths


@settings(max_examples=40, deadline=None)
@given(st.lists(MODELS, min_size=1, max_size=3, unique_by=lambda facts: facts.name), st.integers(0, 8 * GIB))
def test_a_larger_gpu_never_gets_smaller_budgets(models: list[ModelFacts], more_bytes: int) -> None:
    gpu_bytes = needed(models, "bf16", Assumptions())
    small, large = plan(models, gpu_bytes), plan(models, gpu_bytes + more_bytes)
    for before, after in zip(small.models, large.models, strict=True):
        assert after.budget_tokens >= before.budget_tokens


def test_budgets_are_as_large_as_the_gpu_allows() -> None:
    made = plan(FLAGSHIP, 6 * GIB)
    assert len({model.budget_tokens for model in made.models}) == 1, "so that one step more would go to all three"
    step_bytes = 256 * sum(model.activation_bytes_per_token for model in made.models)
    assert 0 <= made.unplanned_bytes < step_bytes


def test_a_measured_figure_replaces_the_estimate() -> None:
    facts = replace(FLAGSHIP[0], measured_activation_bytes_per_token=12_345)
    assert facts.activation_bytes_per_token("bf16") == 12_345


@pytest.mark.parametrize("models", [[], [FLAGSHIP[0], FLAGSHIP[0]]])
def test_empty_and_repeated_lists_are_refused(models: list[ModelFacts]) -> None:
    with pytest.raises(ConfigError, match=r"at least one|once"):
        plan(models, 8 * GIB)


def test_the_table_adds_up_and_lines_up() -> None:
    made = plan(FLAGSHIP, 8 * GIB, assumptions=Assumptions(external_bytes=GIB))
    table = rows(made)
    assert [row[0] for row in table[:3]] == [facts.name.split("/")[1] for facts in FLAGSHIP]
    assert table[-1][HEADER.index("process")] == "8 GiB"
    assert all(len(row) == len(HEADER) for row in table)
    text = render(made)
    ends = {len(line) for line in text.splitlines()[2:5]}
    assert len(ends) == 1, "the last column is right-aligned"
    assert max(map(len, text.splitlines())) <= 120


# ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_are_found_with_and_without_their_owner() -> None:
    assert facts_for("bge-reranker-base") is facts_for("BAAI/bge-reranker-base")
    with pytest.raises(ModelError, match="no local directory, not fetched from the hub, and none of"):
        facts_for("no-such-model")


def test_a_local_checkpoint_is_described_by_its_files(tmp_path: Path) -> None:
    config = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "max_position_embeddings": 128}
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "modernbert"}))
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.zeros((), np.float16)}, tmp_path / "model-1.safetensors")
    save_file({"c": np.zeros((7,), np.float32)}, tmp_path / "model-2.safetensors", metadata={"format": "pt"})
    save_file({"d": np.zeros((9,), np.float32)}, tmp_path / "of-no-use.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = facts_for(str(tmp_path))
    assert (facts.parameters, facts.hidden, facts.max_tokens, facts.gated) == (15 + 1 + 7, 8, 128, True)


def test_gpt_style_field_names_are_understood() -> None:
    config = {
        "n_embd": 768,
        "n_inner": 3072,
        "n_head": 12,
        "max_trained_positions": 512,
        "model_type": "nomic_bert",
        "num_experts": 8,
        "moe_top_k": 2,
    }
    facts = facts_from_config("nomic", config, CATALOGUE["nomic-ai/nomic-embed-text-v2-moe"].parameters)
    assert replace(facts, name="nomic-ai/nomic-embed-text-v2-moe") == CATALOGUE["nomic-ai/nomic-embed-text-v2-moe"]


def test_robertas_position_table_is_larger_than_its_token_limit() -> None:
    config = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "max_position_embeddings": 514,
        "pad_token_id": 1,
        "model_type": "xlm-roberta",
    }
    facts = CATALOGUE["BAAI/bge-reranker-base"]
    assert facts_from_config(facts.name, config, facts.parameters) == facts


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.safetensors": b""}, r"config\.json"),
        ({"config.json": b"{}"}, r"model\.safetensors is missing"),
        ({"model.safetensors": b"", "config.json": b"{}"}, "too short"),
        ({"model.safetensors": b"\x05" + b"\0" * 7 + b"{oops", "config.json": b"{}"}, "damaged"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        facts_for(str(tmp_path))


def test_precision_scales_weights() -> None:
    facts = FLAGSHIP[1]
    assert facts.weights_bytes("fp32") == 2 * facts.weights_bytes("bf16") == 2 * facts.weights_bytes("fp16")


def test_on_a_gpu_before_ampere_a_model_that_fp16_cannot_hold_is_planned_in_fp32() -> None:
    gemma = replace(FLAGSHIP[0], fp16_overflow="its states are too large")
    other = FLAGSHIP[1]
    before, made = (plan([facts, other], 12 * GIB, dtype="fp16") for facts in (FLAGSHIP[0], gemma))
    assert [model.dtype for model in made.models] == ["fp32", "fp16"]
    assert made.models[0].weights_bytes == 2 * before.models[0].weights_bytes
    text = render(made)
    assert "At fp32 and fp16." in text
    assert f"{gemma.name.split('/')[1]} is computed in fp32: its states are too large." in text
    assert [model.dtype for model in plan([gemma, other], 12 * GIB).models] == ["bf16", "bf16"]
    check_plan(made, [gemma, other])
    with pytest.raises(DoesNotFit, match="weights at fp32 and fp16"):
        plan([gemma, other], GIB, dtype="fp16")
    three = plan([gemma, other, FLAGSHIP[2]], 24 * GIB, dtype="fp16")
    assert "dtype: auto" in configuration(["a", "b", "c"], three, CpuConfig(), file="f")
