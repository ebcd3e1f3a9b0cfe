"""Folders that the rows share: each checkpoint is written once, each model converted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.table import Row


class Checkpoints:
    """Writes a row's checkpoint at first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, row: Row) -> Path:
        """The folder of a row; rows with the same writer share one."""
        path = self._folder / getattr(row.write, "__name__", row.model)
        if not path.exists():
            row.write(path)
        return path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of converted models."""
    return tmp_path_factory.mktemp("converted")
