"""Entries as bytes: what is written is read again, and damage is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cache.entries import entries, entry, fields_of
from trivet.cache.codec import decode, encode
from trivet.cache.entry import Entry


@given(entries)
def test_what_is_written_is_read_again(some: Entry) -> None:
    assert fields_of(decode(encode(some))) == fields_of(some)


@given(entries, st.data())
def test_a_flipped_bit_is_noticed(some: Entry, data: st.DataObject) -> None:
    written = bytearray(encode(some))
    at = data.draw(st.integers(0, len(written) * 8 - 1))
    written[at // 8] ^= 1 << at % 8
    with pytest.raises(ValueError, match="checksum"):
        decode(bytes(written))


@given(st.integers(0))
def test_a_part_is_noticed(length: int) -> None:
    written = encode(entry())
    with pytest.raises(ValueError, match=r"checksum|less than the 18"):
        decode(written[: length % len(written)])
