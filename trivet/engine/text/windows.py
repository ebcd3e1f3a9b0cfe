"""Cuts texts that are longer than the model into token windows. Pure arithmetic on lengths.

Windows of one text have the same size. They share one length bucket without padding, and no window holds just the few
tokens that remain at the end.
"""

Span = tuple[int, int]
"""Half-open range of token positions."""


def window_spans(length_tokens: int, room_tokens: int, overlap_tokens: int) -> list[Span]:
    """Cover `length_tokens` with windows of at most `room_tokens`, of which two in a row share at least the overlap.

    With n windows of size s and overlap o, n·s - (n-1)·o ≥ length must hold; n is the smallest that fits the
    room and s the smallest that fits n. An empty text is one empty window. The overlap is reduced where it
    would leave a window less than half of its room to advance.

    Raises:
        ValueError: there is no room for a token.
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


def pair_rooms(first_tokens: int, second_tokens: int, room_tokens: int) -> tuple[int, int]:
    """Divide an input of `room_tokens` between two texts; returns the room of each.

    Both are whole if they fit together. Otherwise a text that fits half of the room is whole, and the other one gets
    the rest. If neither does, each gets half.
    """
    if first_tokens + second_tokens <= room_tokens:
        return first_tokens, second_tokens
    half = room_tokens // 2
    if first_tokens > half and second_tokens > half:
        return half, half
    return (
        (room_tokens - second_tokens, second_tokens)
        if first_tokens > half
        else (first_tokens, room_tokens - first_tokens)
    )


def pair_spans(
    first_tokens: int, second_tokens: int, room_tokens: int, overlap_tokens: int, *, cut: bool = False
) -> tuple[list[Span], list[Span]]:
    """Cover two texts that must be read together, in windows of `room_tokens` for both (see `pair_rooms`).

    Every window of one meets every window of the other. The caller multiplies the two lists, after it has checked
    their product: two long texts would make millions of pairs.

    Args:
        first_tokens: of the first text.
        second_tokens: of the second text.
        room_tokens: of both together.
        overlap_tokens: shared by two windows in a row.
        cut: cover only the first window of each.
    """
    rooms = pair_rooms(first_tokens, second_tokens, room_tokens)
    if cut:
        return [(0, rooms[0])], [(0, rooms[1])]
    first, second = (
        window_spans(tokens, max(room, 1), overlap_tokens)  # an empty text is one empty window
        for tokens, room in zip((first_tokens, second_tokens), rooms, strict=True)
    )
    return first, second
