"""Which installed packages are read, under which licence, and in which split each one is.

The split is by package, so a model is never tested on a package it was trained on. Packages that share code
(a fork, a framework and the library it re-exports) stand in the same split. Vendored copies are not read.
"""

from __future__ import annotations

import importlib.metadata as metadata
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from research.relations.pairs import Split, stable_fraction

TEST = (
    "aiohttp", "attrs", "click", "filelock", "fsspec", "h11", "httpcore", "httpcore2", "httpx", "httpx2",
    "jsonschema", "markdown-it-py", "mpmath", "multidict", "narwhals", "networkx", "platformdirs", "pluggy",
    "prometheus-client", "pydantic", "pyparsing", "pytest", "referencing", "requests", "virtualenv",
    "websockets", "yarl",
)  # fmt: skip
DEV = (
    "anyio", "cachetools", "fastapi", "google-api-core", "google-auth", "jinja2", "joblib", "smart-open",
    "starlette", "typer", "uvicorn",
)  # fmt: skip
TRAIN = (
    "accelerate", "cffi", "charset-normalizer", "cloudpickle", "cryptography", "distlib",
    "grimp", "huggingface-hub", "idna", "import-linter", "msgpack", "mypy", "nncf", "numpy", "opencensus",
    "opentelemetry-api", "opentelemetry-sdk", "openvino", "packaging", "peft", "pip", "protobuf", "psutil",
    "pyasn1", "pydot", "pygments", "python-discovery", "pyyaml", "ray", "rich", "safetensors", "scikit-learn",
    "scipy", "sentence-transformers", "setuptools", "sortedcontainers", "sympy", "tabulate", "threadpoolctl",
    "torch", "transformers", "typing-inspection", "urllib3", "watchfiles", "wrapt",
)  # fmt: skip
STDLIB = "python-stdlib"  # trained on: too many packages copy its wording for it to be a fair test

# Words that name a permissive licence in package metadata; a distribution that matches none is not read.
PERMISSIVE = ("mit", "bsd", "apache", "psf", "python software foundation")
NOT_PERMISSIVE = ("gpl", "mpl", "mozilla", "eupl", "cddl", "non-commercial", "proprietary")

SKIPPED_FOLDERS = frozenset(
    [
        "_vendor",
        "vendor",
        "vendored",
        "extern",
        "externals",
        "_externals",
        "third_party",
        "thirdparty",
        "thirdparty_files",
        "tests",
        "test",
        "testing",
        "_private_tests",
        "benchmarks",
        "examples",
        "array_api_compat",
        "array_api_extra",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "encodings",
        "site-packages",
        "ensurepip",
        "generated",
        "_generated",
        "models",
        "__pycache__",
        "typeshed",
        "typeshed_client",
    ]
)
MAX_FILES = 220
MAX_FILE_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that may be read: where it is and what it permits."""

    name: str
    version: str
    licence: str
    split: Split
    files: tuple[tuple[str, Path], ...]  # (dotted module name, file)
    description: str

    @property
    def source(self) -> str:
        return f"{self.name}=={self.version}"


def licence_of(fields: metadata.PackageMetadata) -> str:
    """The licence a distribution states: the SPDX expression, else its classifiers, else the free text's first line."""
    if expression := fields.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in fields.get_all("Classifier") or [] if c.startswith("License ::")]
    if classifiers:
        return " / ".join(c.split("::")[-1].strip() for c in classifiers)
    return (fields.get("License") or "").strip().splitlines()[0] if fields.get("License") else ""


def is_permissive(licence: str) -> bool:
    lowered = licence.lower()
    return any(word in lowered for word in PERMISSIVE) and not any(word in lowered for word in NOT_PERMISSIVE)


def _sampled(files: list[tuple[str, Path]]) -> tuple[tuple[str, Path], ...]:
    """At most MAX_FILES, chosen by module name so that the choice does not depend on the file system."""
    readable = [(m, p) for m, p in files if p.is_file() and p.stat().st_size <= MAX_FILE_BYTES]
    chosen = sorted(readable, key=lambda item: stable_fraction(item[0]))[:MAX_FILES]
    return tuple(sorted(chosen))


def _module_name(relative: Path) -> str:
    parts = list(relative.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _distribution(name: str, split: Split) -> Package | None:
    """The installed package, or None where it is missing or its licence is not permissive."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    licence = licence_of(found.metadata)
    if not is_permissive(licence):
        return None
    files = [
        (_module_name(Path(str(f))), Path(str(f.locate())))
        for f in found.files or []
        if f.suffix == ".py" and not SKIPPED_FOLDERS.intersection(f.parts[:-1]) and ".." not in f.parts
    ]
    description = found.metadata.get("Description") or str(found.metadata.get_payload() or "")  # type: ignore[attr-defined]
    return Package(name, found.version, licence, split, _sampled(files), description)


def _stdlib() -> Package:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [
        (_module_name(path.relative_to(root)), path)
        for path in root.rglob("*.py")
        if not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts[:-1])
    ]
    return Package(STDLIB, platform.python_version(), "PSF-2.0", "train", _sampled(files), "")


def packages(split: Split) -> Iterator[Package]:
    """The packages of one split that are installed here, in name order."""
    for name in {"train": TRAIN, "dev": DEV, "test": TEST}[split]:
        if package := _distribution(name, split):
            yield package
    if split == "train":
        yield _stdlib()
