"""Counts the values of a JSON text without parsing it. Pure.

Parsing costs memory and time by the number of values, not by the number of bytes: 8 MB of nulls become a list of two
million, 8 MB of one text become one string. `json.loads` holds the interpreter's lock all the while.
"""

import numpy as np

_QUOTE, _COMMA, _LIST, _OBJECT = b'",[{'


def count_elements(body: bytes, enough: int) -> int:
    """Return the number of values in a JSON text, members of objects counted once.

    The result is exact only above `enough`; otherwise it is a number up to `enough` that is not less than the exact
    one. Bytes that are not JSON give some number.
    """
    if len(body) // 2 < enough:  # a value and its comma are two bytes
        return len(body) // 2 + 1
    most = body.count(b",") + body.count(b"[") + body.count(b"{") + 1
    return most if most <= enough else _outside_strings(body)


def _outside_strings(body: bytes) -> int:
    without_escapes = body.replace(rb"\\", b"").replace(rb"\"", b"")
    read = np.frombuffer(without_escapes, dtype=np.uint8)
    in_string = np.cumsum(read == _QUOTE, dtype=np.uint8) & 1  # the sum overflows, and its parity stays
    begins = (read == _COMMA) | (read == _LIST) | (read == _OBJECT)
    return int(np.count_nonzero(begins & (in_string == 0))) + 1
