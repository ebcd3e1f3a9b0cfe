"""The JSON files beside the weights, in the forms that sentence-transformers has written over the years."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.support.published.weights import HEAD, Weights

Era = Literal[2, 6]
"""Major version of sentence-transformers that wrote the files: it decides class paths and field names."""

_OLD = "sentence_transformers.models."
_OLD_SPARSE = "sentence_transformers.sparse_encoder.models."
_NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.",
    "Dense": "sentence_transformers.base.modules.dense.",
    "Normalize": "sentence_transformers.base.modules.normalize.",
    "LogitScore": "sentence_transformers.cross_encoder.modules.logit_score.",
    "MultiVectorMask": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.",
}
_POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def write_json(file: Path, content: Any) -> None:
    """Write JSON, making the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_modules(folder: Path, kinds: Sequence[str], era: Era = 2) -> list[Path]:
    """`modules.json`; the folder of each module, which for the Transformer is the root."""
    paths = ["" if at == 0 else f"{at}_{kind}" for at, kind in enumerate(kinds)]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"{_package(kind, era)}{kind}"}
        for at, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    for path in paths:
        (folder / path).mkdir(parents=True, exist_ok=True)
    return [folder / path for path in paths]


def _package(kind: str, era: Era) -> str:
    if era == 6:
        return _NEW[kind]
    return _OLD_SPARSE if kind in ("MLMTransformer", "SpladePooling") else _OLD


def write_pooling(folder: Path, mode: str, width: int, era: Era = 2) -> None:
    """The configuration of a Pooling module: flags until version 5, a name from 6 on."""
    if era == 6:
        write_json(folder / "config.json", {"embedding_dimension": width, "pooling_mode": mode, "include_prompt": True})
        return
    flags = {flag: name == mode for name, flag in _POOLING_FLAGS.items()}
    write_json(folder / "config.json", {"word_embedding_dimension": width, **flags, "include_prompt": True})


def write_dense(
    folder: Path,
    weights: Weights,
    sizes: tuple[int, int],
    *,
    bias: bool,
    activation: str = "torch.nn.modules.linear.Identity",
    **more: Any,
) -> None:
    """A Dense module (inputs, outputs) with its own safetensors; `weights` gives the random numbers."""
    inputs, outputs = sizes
    own = weights.another_file()
    own.linear("linear", outputs, inputs, bias=bias, gain=HEAD)
    own.save(folder)
    config = {"in_features": inputs, "out_features": outputs, "bias": bias, "activation_function": activation}
    write_json(folder / "config.json", config | more)


def write_sentence_transformer(
    folder: Path,
    *,
    width: int,
    pooling: str,
    normalize: bool = True,
    max_seq_length: int | None = 512,
    do_lower_case: bool = False,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    similarity: str | None = "cosine",
) -> None:
    """Transformer → Pooling (→ Normalize) with the files of the 2.x and 3.x versions."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    folders = write_modules(folder, kinds)
    write_pooling(folders[1], pooling, width)
    if max_seq_length is not None:
        limits = {"max_seq_length": max_seq_length, "do_lower_case": do_lower_case}
        write_json(folder / "sentence_bert_config.json", limits)
    write_versions(folder, prompts=prompts, default_prompt_name=default_prompt_name, similarity=similarity)


def write_versions(
    folder: Path,
    *,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    similarity: str | None = "cosine",
    **more: Any,
) -> None:
    """`config_sentence_transformers.json`. Files of 2022 hold nothing but versions."""
    versions = {"sentence_transformers": "2.7.0", "transformers": "4.41.2", "pytorch": "2.3.0"}
    content: dict[str, Any] = {"__version__": versions, **more}
    if prompts is not None:
        content |= {
            "prompts": dict(prompts),
            "default_prompt_name": default_prompt_name,
            "similarity_fn_name": similarity,
        }
    write_json(folder / "config_sentence_transformers.json", content)
