"""Acts as another program on the GPU: `python -m bench.engine.gpu.external SECOND:FREE_MIB …`.

From each second on it holds so much memory that FREE_MIB are left. It follows once per step: what others take
afterwards is theirs. A FREE_MIB below 0 ends it.
"""

import sys
import time

import torch

CHUNK_BYTES = 64 << 20


def main() -> None:
    steps = [tuple(float(part) for part in argument.split(":")) for argument in sys.argv[1:]]
    held: list[torch.Tensor] = []
    torch.empty(1, device="cuda")
    began_s = time.monotonic()
    for second, free_mib in steps:
        time.sleep(max(0.0, began_s + second - time.monotonic()))
        if free_mib < 0:
            return
        wanted_bytes = int(free_mib) << 20
        while torch.cuda.mem_get_info()[0] > wanted_bytes + CHUNK_BYTES:
            held.append(torch.empty(CHUNK_BYTES, dtype=torch.uint8, device="cuda"))
        while held and torch.cuda.mem_get_info()[0] < wanted_bytes:
            del held[-8:]
            torch.cuda.empty_cache()
        print(f"{second:.0f} s: {torch.cuda.mem_get_info()[0] >> 20} MiB are free", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
