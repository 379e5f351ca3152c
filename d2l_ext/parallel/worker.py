"""A process of a run: ``python -m d2l_ext.parallel.worker ORDERS ANSWERS``, two pipes' numbers.

It is given one order, answers once, when it ends, and ends at once when the pipe of the orders is
closed: whoever started it is gone.
"""

import contextlib
import functools
import os
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import d2l_ext
from d2l_ext.agreement.running import wire
from d2l_ext.parallel.group import GroupError
from d2l_ext.parallel.run import SharedRun
from d2l_ext.training import run
from d2l_ext.training.settings import read_settings
from d2l_ext.training.stopping import Stopped


def main(orders: int, answers: int) -> None:
    """Do what is ordered, and say how it ended."""
    source, sink = Connection(orders, writable=False), Connection(answers, readable=False)
    order = wire.receive(source)
    threading.Thread(target=_end_with_parent, args=(source,), daemon=True).start()
    wire.send(sink, _end(order))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # an engine whose other processes are gone may wait for them for ever


def _end_with_parent(source: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        source.recv_bytes()
    os._exit(1)


def _end(order: dict[str, Any]) -> dict[str, Any]:
    """Do what is ordered; return how it ended."""
    try:
        work(**order)
    except Stopped as stop:
        return {"end": "stopped", "step": stop.step, "signal": stop.signal}
    except KeyboardInterrupt:
        return {"end": "interrupted"}
    except GroupError as error:
        traceback.print_exc()
        return {"end": "lost", "text": str(error)}
    except Exception as error:  # of any kind: it is said where the run was started
        traceback.print_exc()
        kinds = [kind.__name__ for kind in type(error).__mro__]
        text = "; ".join([str(error) or kinds[0], *getattr(error, "__notes__", ())])
        return {"end": "failed", "kinds": kinds, "text": text}
    return {"end": "done"}


def work(
    rank: int,
    addresses: list[str],
    folder: str,
    settings: dict[str, Any],
    resume: bool,
    epochs: int | None,
) -> None:
    """Train as one of several processes.

    Args:
        rank, addresses: as of `Group`.
        folder: of the run.
        settings: as of `Settings`.
        resume, epochs: whether the leader resumes the run in the folder, and up to which epoch.
    """
    report = Reports(rank, Path(folder))
    found = read_settings(None, **settings)
    with d2l_ext.backend(found.backend).join(rank, addresses) as group:
        make = functools.partial(SharedRun, group=group)
        if rank:
            make(Path(folder), found, report).train()
        elif resume:
            run.resume(folder, report, progress=True, epochs=epochs, make=make)
        else:
            run.start(folder, found, report, progress=True, make=make)


class Reports:
    """Writes lines to the worker's log; those of the leader to the standard output too."""

    def __init__(self, rank: int, folder: Path):
        self._rank, self._path = rank, log_path(folder, rank)

    def __call__(self, line: str) -> None:
        with open(self._path, "a") as file:
            print(line, file=file)
        if self._rank == 0:
            print(line, flush=True)


def log_path(folder: Path, rank: int) -> Path:
    """Return where a worker writes what it has to say."""
    return folder / f"worker-{rank}.log"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
