"""How a training process behaves on a small machine: threads, priority, allocator, seeds. No model code."""

import ctypes
import os
import platform
import random

import numpy as np
import torch

# Parameters of glibc's mallopt(3). By default every large tensor is mapped, page-faulted and unmapped again at
# each step; keeping the pages made a step about a fifth shorter on the machine this was written on.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 256 * 1024**2
_NEVER_TRIM = 2**31 - 1


def tune_process(*, threads: int, niceness: int = 0) -> None:
    """Give the process `threads` compute threads, lower its priority, and keep freed pages in the heap."""
    torch.set_num_threads(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the loop tokenises up front; forks would warn
    if niceness:
        os.nice(niceness)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
        libc.mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def seed_everything(seed: int) -> None:
    """Seed every generator that training draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
