"""Converts a pickled checkpoint to safetensors: ``python -m trivet.checkpoint.unpickle --model DIR --out DIR``.

A pickle can run code when it is read. torch's restricted reader (``weights_only``) builds tensors and plain containers
and refuses everything else. It has had security holes, so only models that the configuration names are read, in a
separate process that serves no requests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

import trivet
from trivet.checkpoint.files import SINGLE_FILE, find_weight_files, inside, read_json
from trivet.checkpoint.m3 import pickled_heads
from trivet.errors import ModelError

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
_KEPT = ("*.json", "*.txt", "*.model", "README.md")


def pickle_files(model_dir: Path) -> list[Path]:
    """Return the files of a pickled checkpoint: one, or the shards that its index names. Empty if there are none.

    Raises:
        ModelError: the index names a file outside of the directory.
    """
    if (model_dir / PICKLE).is_file():
        return [model_dir / PICKLE]
    index = model_dir / PICKLE_INDEX
    if not index.is_file():
        return []
    return sorted({inside(model_dir, name, index) for name in read_json(index).get("weight_map", {}).values()})


def has_pickles(model_dir: Path) -> bool:
    """Whether anything that is read of the checkpoint is a pickle: the model, or heads beside it."""
    lacks_safetensors = not any(model_dir.glob("*.safetensors"))
    return bool(pickled_heads(model_dir)) or (lacks_safetensors and bool(pickle_files(model_dir)))


def unpickled(model_dir: Path, out: Path) -> Path:
    """Return ``out``, which holds the checkpoint as safetensors. A separate process makes it if it does not exist.

    Raises:
        ModelError: the pickle holds more than tensors, or cannot be read.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{out}.lock"):
        if not out.is_dir():
            search_path = [str(Path(trivet.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
            done = subprocess.run(
                [sys.executable, "-m", __name__, "--model", str(model_dir), "--out", str(out)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search_path))},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
                raise ModelError(f"{model_dir}: its pickle was not read: {said}")
    return out


def convert(model_dir: Path, out: Path) -> None:
    """Write ``out``, which must not exist; it appears complete or not at all.

    Raises:
        pickle.UnpicklingError: the pickle holds something other than tensors and plain containers.
    """
    import torch
    from safetensors.torch import save_file

    def read(file: Path) -> dict[str, torch.Tensor]:
        # Tensors that share memory are separated, since safetensors stores each by itself.
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}

    def write(tensors: dict[str, torch.Tensor], name: str) -> None:
        save_file(tensors, partial / name, metadata={"format": "pt"})

    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    partial.mkdir()
    for pattern in _KEPT:
        for file in [*model_dir.glob(pattern), *model_dir.glob(f"1_Pooling/{pattern}")]:
            target = partial / file.relative_to(model_dir)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
    if any(model_dir.glob("*.safetensors")):
        for file in find_weight_files(model_dir):
            shutil.copyfile(file, partial / file.name)
    else:
        write({name: tensor for file in pickle_files(model_dir) for name, tensor in read(file).items()}, SINGLE_FILE)
    for file in pickled_heads(model_dir):
        write(read(file), file.with_suffix(".safetensors").name)
    partial.rename(out)


def main() -> None:
    """Run the command line; the last line on stderr says what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        convert(options.model, options.out)
    except Exception as error:
        # One line for the parent, whatever was wrong with the file.
        raise SystemExit(
            json.dumps(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        ) from error


if __name__ == "__main__":
    main()
