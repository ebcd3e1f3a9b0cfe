"""Which GPUs of a node are ours to use, and which of them a new replica takes. Pure."""

from collections.abc import Collection, Mapping, Sequence

from trivet.config import GpuPlacement


def visible_gpus(by_index: Sequence[Sequence[str]], visible: str | None) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that CUDA may use.

    Args:
        by_index: per GPU of the driver's list, its UUID, or the UUIDs of its MIG instances.
        visible: `CUDA_VISIBLE_DEVICES`: indices or (abbreviated) UUIDs in any order; None where it is not set. As in
            CUDA, everything behind an entry that names no GPU is ignored.
    """
    uuids = [uuid for group in by_index for uuid in group]
    if visible is None:
        return tuple(uuids)
    chosen: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit():
            found = list(by_index[int(entry)]) if int(entry) < len(by_index) else []
        else:
            found = [uuid for uuid in uuids if entry and uuid.startswith(entry)]
        if not found:
            break
        chosen += found
    return tuple(dict.fromkeys(chosen))


def choose_gpu(
    gpus: Sequence[str],
    held: Mapping[str, Collection[str]],
    model: str,
    placement: GpuPlacement,
    unreadable: Collection[str] = (),
) -> str | None:
    """Return the GPU that a new replica of `model` takes; None while every GPU that it may take is taken or lost.

    A GPU has at most one replica of each model.

    Args:
        gpus: UUIDs of the node's GPUs, in the driver's order.
        held: per GPU, the models that have a replica on it.
        model: the replica's model.
        placement: `spread` takes the GPU with the fewest models, `pack` the first one, a mapping the one of that index.
        unreadable: GPUs that cannot be read now, which take no new replica.
    """
    allowed = list(gpus)
    if isinstance(placement, dict) and model in placement:
        allowed = list(gpus[placement[model] : placement[model] + 1])
    free = [gpu for gpu in allowed if gpu not in unreadable and model not in held.get(gpu, ())]
    if not free:
        return None
    return free[0] if placement == "pack" else min(free, key=lambda gpu: len(held.get(gpu, ())))
