"""What frameworks write to the terminal while they start, where no setting stops it."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without(lines: bytes) -> Iterator[None]:
    """Drop lines that are written to the standard error, by whatever language; keep the others.

    Args:
        lines: a regular expression, bytes, that matches the beginning of those to drop.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
            written.seek(0)
            stderr.writelines(line for line in written if not re.match(lines, line))
