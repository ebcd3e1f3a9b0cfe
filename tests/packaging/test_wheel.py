"""What a wheel of this tree contains, by the build's own list: nothing is built or installed."""

import subprocess
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from trivet.paths import service_folder, shipped_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names() -> dict[str, Path]:
    """Path in the wheel → file in this tree."""
    files = WheelBuilder(str(ROOT)).recurse_included_files()
    return {file.distribution_path: Path(file.path) for file in files}


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_nothing_lies_outside_of_the_package(names: dict[str, Path]) -> None:
    assert {name.partition("/")[0] for name in names} == {"trivet"}


def test_everything_that_the_product_consists_of_is_in_it(names: dict[str, Path]) -> None:
    expected = {*tracked("trivet"), *(f"trivet/_service/{name}" for name in tracked("deployments"))}
    expected |= {"trivet/_service/app.py", "trivet/_service/serve_config.yaml"}
    assert expected - names.keys() == set()


def test_the_service_finds_its_files_in_both_places(names: dict[str, Path]) -> None:
    """`trivet.paths` looks for the folder beside itself, where the wheel has it; a checkout has it one level up."""
    assert service_folder() == ROOT
    assert shipped_config() == ROOT / "serve_config.yaml"
    assert names["trivet/_service/serve_config.yaml"] == ROOT / "serve_config.yaml"
    assert names["trivet/_service/deployments/environment/ray.env"].is_file()


def test_it_holds_no_traces_of_this_machine(names: dict[str, Path]) -> None:
    assert [name for name in names if name.endswith((".pyc", ".egg-info")) or "__pycache__" in name] == []
