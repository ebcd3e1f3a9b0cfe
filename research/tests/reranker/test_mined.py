"""Groups keep what mining knew of them; which ones are held back depends on nothing that is in them."""

from pathlib import Path

import torch

from research.reranker.average import mean
from research.reranker.mined import MinedGroup, read_mined, write_mined
from research.reranker.train import HELD_BACK_GROUPS, split


def group(number: int, added: int) -> MinedGroup:
    documents = [f"document {number}.{i}" for i in range(2 + added)]
    targets = [1.0] + [0.0] * (1 + added)
    return MinedGroup(f"query {number}", documents, targets, [0.5] * len(documents), added)


def queries(groups: list[MinedGroup]) -> list[str]:
    return [one.query for one in groups]


def test_groups_survive_the_file(tmp_path: Path) -> None:
    groups = [group(1, 0), group(2, 1)]
    assert write_mined(tmp_path / "some" / "groups.jsonl.gz", groups) == 2
    assert read_mined(tmp_path / "some" / "groups.jsonl.gz") == groups


def test_what_mining_added_can_be_left_out() -> None:
    assert [pair.second for pair in group(3, 1).pairs()] == ["document 3.0", "document 3.1", "document 3.2"]
    assert [pair.second for pair in group(3, 1).pairs(with_added=False)] == ["document 3.0", "document 3.1"]
    assert len(group(3, 0).pairs(with_added=False)) == 2


def test_the_split_does_not_depend_on_added_negatives() -> None:
    plain, extended = ([group(i, added) for i in range(400)] for added in (0, 2))
    kept, held_back = split(plain)
    assert (queries(kept), queries(held_back)) == tuple(map(queries, split(extended)))
    assert len(held_back) == 20
    assert sorted(queries(kept) + queries(held_back)) == sorted(queries(plain))


def test_no_more_is_held_back_than_is_needed() -> None:
    groups = [group(i, 0) for i in range(40 * HELD_BACK_GROUPS)]
    assert len(split(groups)[1]) == HELD_BACK_GROUPS


def test_the_mean_of_checkpoints() -> None:
    states = [
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(0.0)},
        {"a": torch.tensor([3.0, 6.0]), "b": torch.tensor(1.0)},
    ]
    found = mean(states)
    torch.testing.assert_close(found, {"a": torch.tensor([2.0, 4.0]), "b": torch.tensor(0.5)})
