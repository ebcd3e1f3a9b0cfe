"""An entry as bytes: a header of fixed width, the device's name, the values as little-endian float32. No pickles."""

import struct
import sys
import zlib

import numpy as np

from trivet.cache.entry import Entry

_HEADER = struct.Struct("<IBBIIHH")
"""CRC-32 of what follows it, lane, truncated, tokens, windows, sequences per window, length of the device's name."""
_CRC = struct.Struct("<I")


def encode(entry: Entry) -> bytes:
    """Encode an entry for `decode`."""
    device = entry.device.encode()
    fields = (entry.lane == "gpu", entry.truncated, entry.tokens, entry.windows, entry.sequences_per_window)
    written = _HEADER.pack(0, *fields, len(device)) + device + entry.values.astype("<f4", copy=False).tobytes()
    body = written[_CRC.size :]
    return _CRC.pack(zlib.crc32(body)) + body


def decode(written: bytes) -> Entry:
    """Decode an entry; ValueError if it is damaged."""
    if len(written) < _HEADER.size:
        raise ValueError(f"{len(written)} bytes are less than the {_HEADER.size} of an entry's header")
    crc, on_gpu, truncated, tokens, windows, sequences_per_window, device_bytes = _HEADER.unpack_from(written)
    if zlib.crc32(memoryview(written)[_CRC.size :]) != crc:
        raise ValueError("the checksum does not match")
    values_at = _HEADER.size + device_bytes
    values = np.frombuffer(written, dtype="<f4", offset=values_at).astype(np.float32)
    values.flags.writeable = False
    device = sys.intern(written[_HEADER.size : values_at].decode())  # a few names, in very many entries
    return Entry(values, tokens, windows, bool(truncated), sequences_per_window, "gpu" if on_gpu else "cpu", device)
