"""Token windows over a text that is longer than the model. Pure arithmetic on lengths.

Windows of one text are of equal size (± 0), so that they pack into one bucket without padding and no tail of
three tokens is embedded on its own.
"""

from itertools import product

Span = tuple[int, int]
"""Half-open range of token positions."""


def window_spans(length_tokens: int, room_tokens: int, overlap_tokens: int) -> list[Span]:
    """Cover `length_tokens` with windows of at most `room_tokens`, neighbours sharing at least the overlap.

    With n windows of size s and overlap o, n·s - (n-1)·o ≥ length must hold; n is the smallest that fits the
    room and s the smallest that fits n. An empty text is one empty window. The overlap is reduced where it
    would leave a window less than half of its room to advance.
    """
    if room_tokens < 1:
        raise ValueError(f"a window needs room for at least one token, got {room_tokens}")
    if length_tokens <= room_tokens:
        return [(0, length_tokens)]
    overlap = min(overlap_tokens, room_tokens // 2)
    advance = room_tokens - overlap
    count = -(-(length_tokens - overlap) // advance)
    size = -(-(length_tokens + (count - 1) * overlap) // count)
    starts = [index * (length_tokens - size) // (count - 1) for index in range(count)]
    return [(start, start + size) for start in starts]


def pair_spans(first_tokens: int, second_tokens: int, room_tokens: int, overlap_tokens: int) -> list[tuple[Span, Span]]:
    """Cover two texts that must be read together, in windows of `room_tokens` for both.

    The text that fits half of the room is kept whole in every window and the other one slides; where neither
    does, each gets half and every window of one meets every window of the other.
    """
    if first_tokens + second_tokens <= room_tokens:
        return [((0, first_tokens), (0, second_tokens))]
    half = room_tokens // 2
    first_room = half if second_tokens > half else room_tokens - second_tokens
    second_room = half if first_tokens > half else room_tokens - first_tokens
    return list(
        product(
            window_spans(first_tokens, first_room, overlap_tokens),
            window_spans(second_tokens, second_room, overlap_tokens),
        )
    )
