"""A process that an engine needs beside the workers: it imports a module, and ends with its parent.

``python -m d2l_ext.parallel.helper MODULE``, where importing the module does the work.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping


def start(module: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process; it ends when its standard input does, and so when this process ends."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, module],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C is for the parent to understand
    )


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    importlib.import_module(sys.argv[1])
