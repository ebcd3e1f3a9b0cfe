"""Token windows over a text that is longer than the model. Pure arithmetic on lengths.

Windows of one text are of equal size (± 0), so that they pack into one bucket without padding and no tail of
three tokens is embedded on its own.
"""

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


def pair_rooms(first_tokens: int, second_tokens: int, room_tokens: int) -> tuple[int, int]:
    """How many tokens of each of two texts one input of `room_tokens` shows.

    Both whole where they fit together. Else the text that fits half of the room is whole and the other one gets the
    rest; where neither does, each gets half.
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

    Every window of one is to meet every window of the other. The two lists are not multiplied here: two long texts
    would make millions of pairs before anybody counted them. `cut` leaves only what the first window of each can
    show when it is filled.
    """
    rooms = pair_rooms(first_tokens, second_tokens, room_tokens)
    if cut:
        return [(0, rooms[0])], [(0, rooms[1])]
    first, second = (
        window_spans(tokens, max(room, 1), overlap_tokens)  # an empty text is one empty window
        for tokens, room in zip((first_tokens, second_tokens), rooms, strict=True)
    )
    return first, second
