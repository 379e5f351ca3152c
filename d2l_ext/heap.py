"""Memory that one step frees, kept in the process for the next step.

PyTorch and MXNet take the memory of an array from malloc, and glibc's malloc gives what is large
back to the system when it is freed. The next step gets it again, a page at a time, and the system
clears every page.
"""

import ctypes
import os

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
ROOM = 64 * 2**20  # bytes by which the process grows at once
CHOSEN = ("MALLOC_", "GLIBC_TUNABLES")  # how the environment sets these itself


def keep() -> None:
    """Keep freed memory from now on, where malloc is glibc's and the environment sets nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name.startswith(CHOSEN) for name in os.environ):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_TOP_PAD, ROOM)
