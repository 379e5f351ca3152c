"""The workers of one machine: started here, or by the same command on another machine."""

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from d2l_ext.agreement.running import wire
from d2l_ext.environment import importable
from d2l_ext.parallel.worker import log_path

Ends = dict[int, dict[str, Any]]  # by rank: how a worker ended


class Machine(Protocol):
    """Some of the workers.

    Attributes:
        running: the ranks of those that have not ended.
    """

    running: set[int]

    def connections(self) -> list[Connection]:
        """Return what `multiprocessing.connection.wait` can wait for."""
        ...

    def ends(self, ready: Connection) -> Ends:
        """Return which workers have ended, after one of the connections has become ready."""
        ...

    def signal(self, number: int) -> None:
        """Ask the workers to stop."""
        ...

    def kill(self, why: str) -> None:
        """End all workers at once."""
        ...


class Here:
    """Workers in processes of this machine.

    Args:
        order: what each worker is told; its rank is added.
        ranks: of the workers.
    """

    def __init__(self, order: dict[str, Any], ranks: list[int]):
        self.running: set[int] = set()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._orders: dict[int, Connection] = {}
        self._answers: dict[int, Connection] = {}
        self._order, self._folder = order, Path(order["folder"])
        for rank in ranks:
            self._start(rank, len(ranks))

    def _start(self, rank: int, num_here: int) -> None:
        source, self._orders[rank] = Pipe(duplex=False)
        self._answers[rank], sink = Pipe(duplex=False)
        log = open(log_path(self._folder, rank), "ab")  # noqa: SIM115 (closed below)
        threads = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // num_here, 1))}
        # The leader has the terminal, for its bar and its lines.
        output = None if rank == 0 else log
        with log, source, sink:
            self._processes[rank] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "d2l_ext.parallel.worker",
                    *map(str, _numbers(source, sink)),
                ],
                pass_fds=_numbers(source, sink),
                stdin=subprocess.DEVNULL,
                env=threads | os.environ | importable(),
                start_new_session=True,  # Ctrl-C comes to the command, which tells the workers
                stdout=output,
                stderr=output,
            )
        self.running.add(rank)
        with contextlib.suppress(OSError):  # it is gone, which its answers say
            wire.send(self._orders[rank], self._order | {"rank": rank})

    def connections(self) -> list[Connection]:
        """As `Machine.connections`."""
        return [self._answers[rank] for rank in sorted(self.running)]

    def ends(self, ready: Connection) -> Ends:
        """As `Machine.ends`."""
        (rank,) = (rank for rank, answers in self._answers.items() if answers is ready)
        self.running.discard(rank)
        try:
            end = wire.receive(ready)
        except (EOFError, OSError, wire.GarbageError):
            end = {"end": "died", "code": self._processes[rank].wait()}
        return {rank: end | {"pid": self._processes[rank].pid}}

    def signal(self, number: int) -> None:
        """As `Machine.signal`."""
        for rank in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._processes[rank].pid, number)

    def kill(self, why: str) -> None:
        """As `Machine.kill`."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.clear()


def _numbers(*connections: Connection) -> tuple[int, ...]:
    return tuple(connection.fileno() for connection in connections)


class There:
    """Workers of another machine, seen from the leader's.

    Args:
        connection: to the command there.
        ranks: of its workers.
    """

    def __init__(self, connection: Connection, ranks: list[int]):
        self.running, self._connection = set(ranks), connection

    def connections(self) -> list[Connection]:
        """As `Machine.connections`."""
        return [self._connection] if self.running else []

    def ends(self, ready: Connection) -> Ends:
        """As `Machine.ends`."""
        try:
            found = wire.receive(ready)
        except (EOFError, OSError, wire.GarbageError):
            found = {rank: {"end": "gone"} for rank in self.running}
        self.running -= found.keys()
        return found

    def signal(self, number: int) -> None:
        """The workers of one machine, told by a step's sum, tell the others."""

    def kill(self, why: str) -> None:
        """As `Machine.kill`: the command there ends its workers when it is told, or alone."""
        with contextlib.suppress(OSError):
            wire.send(self._connection, {"over": why})
        self._connection.close()
        self.running.clear()


def wait_for(machines: list[Any], seconds: float) -> list[tuple[Any, Connection]]:
    """Return which connections of which machines are ready, after at most so many seconds."""
    owners = {id(c): (machine, c) for machine in machines for c in machine.connections()}
    ready = wait([connection for _, connection in owners.values()], seconds)
    return [owners[id(connection)] for connection in ready]
