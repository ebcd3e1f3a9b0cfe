"""The folder that ingresses share belongs to one user alone."""

from pathlib import Path

import pytest

from deployments.shared_folder import private_folder


def test_it_is_private_and_can_be_there_already(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "shared")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


def test_a_folder_that_others_can_enter_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(private_folder(tmp_path / "elsewhere"))
    for name in ("open", "link"):
        with pytest.raises(PermissionError, match=name):
            private_folder(tmp_path / name)
