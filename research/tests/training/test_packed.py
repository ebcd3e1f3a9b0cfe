"""Packed rows, batches by length, and weights in 12 bits."""

from pathlib import Path

import numpy as np

from research.training.carried import decode_12_bit, encode_12_bit, in_parts
from research.training.packed import (
    CLS_PIECE,
    SEP_PIECE,
    PoolBuilder,
    joined,
    length_bucketed,
    pad_rows,
    ragged,
    read_arrays,
    row_lengths,
    write_arrays,
)


def test_rows_are_written_out_from_shared_pieces() -> None:
    builder = PoolBuilder(101, 102)
    a, b, again = builder.add([7, 8, 9]), builder.add([5]), builder.add([7, 8, 9])
    assert a == again
    pool = builder.pool()
    rows = ragged([[CLS_PIECE, a, b, SEP_PIECE, b, SEP_PIECE], [CLS_PIECE, SEP_PIECE, a, SEP_PIECE]])

    padded = pad_rows(pool, rows)

    assert padded.ids[:, :8].tolist() == [[101, 7, 8, 9, 5, 102, 5, 102], [101, 102, 7, 8, 9, 102, 0, 0]]
    assert padded.ids.shape[1] % 8 == 0
    assert padded.lengths.tolist() == row_lengths(pool, rows).tolist() == [8, 6]
    assert padded.first_tokens.tolist() == [6, 2]


def test_lists_are_taken_and_joined() -> None:
    one, other = ragged([[1], [2, 3], []]), ragged([[4, 5], [], [6]])

    both = joined(one, other)

    assert [both.values[a:b].tolist() for a, b in zip(both.starts, both.starts[1:], strict=False)] == [
        [1, 4, 5], [2, 3], [6],
    ]  # fmt: skip
    taken = both.take(np.array([2, 0]))
    assert taken.values.tolist() == [6, 1, 4, 5]
    assert taken.starts.tolist() == [0, 1, 4]


def test_batches_hold_every_group_once_within_the_budget() -> None:
    rng = np.random.default_rng(5)
    rows, tokens = rng.integers(1, 5, 300), rng.integers(4, 120, 300)

    batches = length_bucketed(rows, tokens, token_budget=1024, rng=rng, window=100)

    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    for batch in batches:
        padded = -(-tokens[batch].max() // 8) * 8
        assert rows[batch].sum() * padded <= 1024 or len(batch) == 1


def test_arrays_survive_the_file(tmp_path: Path) -> None:
    arrays = {
        "ids": np.arange(70_000, dtype=np.uint32).astype(np.uint16), "ids_starts": np.array([0, 3, 70_000]),
        "names": np.array(["a", "bc"]), "odd": np.array([1, 2, 3], dtype=np.uint8),
    }  # fmt: skip
    write_arrays(tmp_path / "x.xz", arrays)

    found = read_arrays(tmp_path / "x.xz")

    assert {name: found[name].tolist() for name in found} == {name: a.tolist() for name, a in arrays.items()}


def test_twelve_bits_are_within_half_a_step() -> None:
    rng = np.random.default_rng(2)
    weights = {"m": rng.normal(size=(9, 16)).astype(np.float32), "v": rng.normal(size=5).astype(np.float32)}

    decoded = decode_12_bit(encode_12_bit(weights, {"m": np.array([0, 3, 8])}))

    step = np.abs(weights["m"]).max(axis=1, keepdims=True) / 2047
    kept = [0, 3, 8]
    assert (np.abs(decoded["m"] - weights["m"])[kept] <= step[kept] / 2 + 1e-7).all()
    assert not decoded["m"][[1, 2, 4, 5, 6, 7]].any()
    assert (decoded["v"] == weights["v"]).all()


def test_parts_keep_the_limit_and_the_order() -> None:
    parts = in_parts({name: np.zeros(size, dtype=np.uint8) for name, size in (("a", 6), ("b", 5), ("c", 20))}, 10)

    assert [list(part) for part in parts] == [["a"], ["b"], ["c"]]
