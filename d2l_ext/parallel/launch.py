"""A run of several processes from one command, or from the same command on several machines.

The machine of the first host leads: its command waits for the others, tells them the settings, and
hears of every worker how it ended. The first worker that does not end well ends the run.
"""

import builtins
import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from d2l_ext import checks
from d2l_ext.agreement.running import wire
from d2l_ext.cli import OF_THE_USER
from d2l_ext.parallel import hosts as addresses_of
from d2l_ext.parallel.hosts import PORT, is_here
from d2l_ext.parallel.machine import Ends, Here, There, wait_for
from d2l_ext.parallel.sockets import accepted, connect, server
from d2l_ext.parallel.worker import log_path
from d2l_ext.training import run, stopping
from d2l_ext.training.settings import Settings

LOCAL = "127.0.0.1"
WAIT = 600.0  # seconds until the commands of all machines must have been started
GRACE = 2.0  # seconds in which others may say why they ended too: the first to be seen has lost one
TICK = 0.2  # seconds between looks at the signals that have come
# What a worker raises and the user can mend, or understands at once.
KINDS = (*OF_THE_USER, OSError, FloatingPointError, MemoryError)

Report = Callable[[str], object]


class WorkerDied(ChildProcessError):
    """A worker has ended without having done its work; the message names it."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which worker is where.

    Attributes:
        hosts: the address of each worker's machine, in the order of the ranks.
        port: of the first machine's command; the workers' follow it.
    """

    hosts: tuple[str, ...]
    port: int = PORT

    @property
    def here(self) -> list[int]:
        """The ranks of this machine's workers."""
        found = {host: is_here(host) for host in set(self.hosts)}
        return [rank for rank, host in enumerate(self.hosts) if found[host]]

    @property
    def addresses(self) -> list[str]:
        """Where each worker may listen; of one machine alone, ports that are free now."""
        if set(self.hosts) == {LOCAL}:
            ports = addresses_of.free_ports(LOCAL, len(self.hosts))
        else:
            ports = range(self.port + 1, self.port + 1 + len(self.hosts))
        return [f"{host}:{port}" for host, port in zip(self.hosts, ports, strict=True)]


def plan(workers: int | None, hosts: Sequence[str], port: int | None) -> Plan:
    """Return where workers are: so many on this machine, or one on each host.

    Raises:
        ValueError: both are given, or neither host is this machine.
    """
    if hosts and workers not in (None, len(hosts)):
        raise ValueError(f"workers: got {workers}, must be one for each of the {len(hosts)} hosts")
    if not hosts:
        checks.positive("workers", workers or 0)
        return Plan((LOCAL,) * (workers or 0))
    found = Plan(tuple(hosts), PORT if port is None else port)
    if not found.here:
        raise ValueError(f"hosts: got {', '.join(hosts)}, must have an address of this machine")
    return found


def train(
    found: Plan,
    folder: Path,
    settings: Settings | None,
    epochs: int | None = None,
    resume: bool = False,
    report: Report = print,
) -> None:
    """Train with several workers, or go on.

    Args:
        found: where the workers are.
        folder: of the run. Where other machines are, it gets their workers' logs alone.
        settings: of a new run; a resumed one has them in the leader's folder.
        epochs, resume: as of `run.resume`.
        report: called with a line of text now and then.

    Raises:
        WorkerDied: a worker was killed, or failed as no run should; the others were ended.
        Stopped: by a signal, after a checkpoint was written.
        ValueError, OSError, FloatingPointError: as of `run.start` and `run.resume`.
    """
    here = found.here
    if 0 not in here:
        _follow(found, folder, here, report)
        return
    settings = run.settings_of(folder, epochs) if resume else settings
    order = {
        "addresses": found.addresses,
        "folder": str(folder),
        "settings": dataclasses.asdict(settings),  # pyright: ignore[reportArgumentType]
        "resume": resume,
        "epochs": epochs,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        machines: list[Any] = _others(found, order, here, report, stack)
        machines.insert(0, Here(order, here))
        ends = _supervise(machines)
    _raise(ends, found, folder)


def _others(
    found: Plan, order: dict[str, Any], here: list[int], report: Report, stack: contextlib.ExitStack
) -> list[Any]:
    """Wait for the commands on the other machines, and tell them the order."""
    missing = {rank: host for rank, host in enumerate(found.hosts) if rank not in here}
    if not missing:
        return []
    machines, end = [], time.monotonic() + WAIT
    with server(f"{found.hosts[0]}:{found.port}") as listener:
        while missing:
            names = ", ".join(sorted(set(missing.values())))
            report(f"waiting for the same command on {names}")
            listener.settimeout(max(end - time.monotonic(), 0.1))
            try:
                connection = stack.enter_context(accepted(listener))
                ranks = [rank for rank in wire.receive(connection) if rank in missing]
            except TimeoutError:
                raise TimeoutError(f"nobody has come from {names} in {WAIT:g} s") from None
            except (wire.GarbageError, EOFError, TypeError):
                continue  # somebody else, at the wrong door
            if ranks:
                wire.send(connection, order)
                machines.append(There(connection, ranks))
            missing = {rank: host for rank, host in missing.items() if rank not in ranks}
    return machines


def _follow(found: Plan, folder: Path, here: list[int], report: Report) -> None:
    """Run this machine's workers for the leader's command."""
    leader = f"{found.hosts[0]}:{found.port}"
    report(f"worker {', '.join(map(str, here))} of {len(found.hosts)}; the leader is {leader}")
    with connect(leader, WAIT) as connection:
        wire.send(connection, here)
        order = wire.receive(connection) | {"folder": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        own = Here(order, here)
        why = _relay(own, connection)
    if why:
        raise WorkerDied(why)


def _relay(own: Here, leader: Connection) -> str:
    """Tell the leader how this machine's workers end; return why the run is over."""
    try:
        with stopping.requests(b"") as request:
            told = None
            while True:
                told = _forward(request, told, [own])
                for source in wait([leader, *own.connections()], TICK):
                    if source is not leader:
                        wire.send(leader, own.ends(source))  # pyright: ignore[reportArgumentType]
                        continue
                    try:
                        return wire.receive(leader)["over"]
                    except (EOFError, OSError):
                        return "the leader's machine is gone"
    finally:
        own.kill("")


def _supervise(machines: list[Any]) -> Ends:
    """Wait until all workers have ended well, or one has not; end the others then."""
    ends: Ends = {}
    try:
        with stopping.requests(b"") as request:
            told, deadline = None, None
            while any(machine.running for machine in machines):
                told = _forward(request, told, machines)
                for machine, connection in wait_for(machines, TICK):
                    ends |= machine.ends(connection)
                if deadline is None and any(end["end"] in BAD for end in ends.values()):
                    deadline = time.monotonic() + GRACE
                if deadline is not None and time.monotonic() >= deadline:
                    break
        return ends
    finally:
        for machine in machines:
            machine.kill(_why(ends))


BAD = ("died", "gone", "failed", "lost")
CAUSES = (("died", "gone"), ("failed",), ("stopped",), ("lost",), ("interrupted",))


def _forward(request: stopping.Request, told: int | None, machines: list[Any]) -> int | None:
    """Pass a signal on once; return what has been passed on."""
    if request.signal is not None and told is None:
        for machine in machines:
            machine.signal(request.signal)
    return request.signal


def _first(ends: Ends, *kinds: str) -> tuple[int, dict[str, Any]] | None:
    """Return the first worker that ended in one of these ways: what follows may be its doing."""
    return next(((rank, end) for rank, end in ends.items() if end["end"] in kinds), None)


def _why(ends: Ends) -> str:
    """Say what has ended the run, or nothing where it has ended well."""
    found = next((first for kind in BAD if (first := _first(ends, kind))), None)
    return f"worker {found[0]} {_how(found[1])}" if found else ""


def _how(end: dict[str, Any]) -> str:
    """Say how a worker has ended."""
    if end["end"] == "gone":
        return "cannot be reached any more"
    process = f"(process {end['pid']})"
    if end["end"] != "died":
        return f"{process} failed: {end['text']}"
    if end["code"] >= 0:
        return f"{process} ended with status {end['code']}"
    name = signal.Signals(-end["code"]).name
    memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"{process} was ended by {name}{memory}"


def _raise(ends: Ends, found: Plan, folder: Path) -> None:
    """Raise what the workers' ends amount to; the cause comes before its consequences."""
    cause = next((first for kinds in CAUSES if (first := _first(ends, *kinds))), None)
    if cause is None:
        return
    rank, end = cause
    if end["end"] == "stopped":
        raise stopping.Stopped(end["step"], end["signal"])
    # A signal that asks to stop may come before a worker can take it as a request.
    if end["end"] == "interrupted" or -end.get("code", 0) in stopping.SIGNALS:
        raise KeyboardInterrupt
    if end["end"] == "failed":
        _raise_failure(end)
    where = f" on {found.hosts[rank]}" if set(found.hosts) != {LOCAL} else ""
    leads = ", the leader," if rank == 0 else ""
    raise WorkerDied(
        f"worker {rank} of {len(found.hosts)}{where}{leads} {_how(end)}; what it said is in"
        f" {log_path(folder, rank)}"
    )


def _raise_failure(end: dict[str, Any]) -> None:
    """Raise the error of a worker, if it is one that is understood without a traceback."""
    for name in end["kinds"]:
        kind = getattr(builtins, name, None)
        if kind in KINDS:
            raise kind(end["text"])
