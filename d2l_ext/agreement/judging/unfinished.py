"""What a comparison has found so far, in a file: one that is interrupted goes on from there.

The first line says what is compared, with what code; every other one has the verdicts of a case on
a backend in a precision. A line that was not finished, or a file of another comparison, is dropped.
"""

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import d2l_ext
from d2l_ext.agreement.judging.verdict import Verdict
from d2l_ext.files import replacing

NAME = "unfinished.jsonl"


class Unfinished:
    """The verdicts of the cases that are done.

    Args:
        path: the file.
        what: whatever decides what the verdicts are, as JSON has it; the code is added.
    """

    def __init__(self, path: Path, what: Mapping[str, Any]):
        self._path, self._lock = path, threading.Lock()
        head = json.dumps({**what, "code": code()})
        lines = path.read_bytes().splitlines() if path.exists() else []
        known = lines[1:] if lines[:1] == [head.encode()] else []
        self._done = dict(_read(known))
        with replacing(path) as file:
            file.write(head.encode() + b"\n")
            file.writelines(_line(key, verdicts) for key, verdicts in self._done.items())

    def __len__(self) -> int:
        return len(self._done)

    def get(self, backend: str, dtype: str, case: str) -> list[Verdict] | None:
        """Return the verdicts of a case, or None if it is not done."""
        return self._done.get((backend, dtype, case))

    def add(self, backend: str, dtype: str, case: str, verdicts: list[Verdict]) -> None:
        """Keep the verdicts of a case."""
        self._done[backend, dtype, case] = verdicts
        with self._lock, open(self._path, "ab") as file:
            file.write(_line((backend, dtype, case), verdicts))

    def end(self) -> None:
        """Drop the file: everything is done."""
        self._path.unlink(missing_ok=True)


def _line(key: tuple[str, str, str], verdicts: list[Verdict]) -> bytes:
    return json.dumps([*key, [dataclasses.astuple(v) for v in verdicts]]).encode() + b"\n"


def _read(lines: list[bytes]) -> Iterator[tuple[tuple[str, str, str], list[Verdict]]]:
    """Yield what was kept, up to a line that was not finished."""
    with contextlib.suppress(ValueError, TypeError):
        for line in lines:
            *key, verdicts = json.loads(line)
            yield tuple(key), [Verdict(*values) for values in verdicts]


def code() -> str:
    """Return the SHA-256 of the package's files: other code may come to other verdicts."""
    folder = Path(d2l_ext.__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".json", ".tsv"):
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()
