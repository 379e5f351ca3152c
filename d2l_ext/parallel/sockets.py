"""Sums over processes without a framework: all send to the leader, who adds and answers."""

import contextlib
import socket
import time
from multiprocessing.connection import Client, Connection

import numpy as np
from jaxtyping import Float

from d2l_ext.agreement.running import wire
from d2l_ext.parallel.hosts import parsed

PAUSE = 0.05  # seconds between two attempts to reach the leader


class Star:
    """Connections between the leader and the others.

    Args:
        rank, size: this process's number, and how many there are.
        address: ``"host:port"`` at which the leader listens.
        timeout: seconds until all must have met.
    """

    def __init__(self, rank: int, size: int, address: str, timeout: float):
        self.rank, self._connections = rank, []
        if rank:
            self._connections.append(connect(address, timeout))
            wire.send(self._connections[0], rank)
            return
        with server(address) as listener:
            listener.settimeout(timeout)
            found = {}
            for _ in range(size - 1):
                connection = accepted(listener)
                found[wire.receive(connection)] = connection
        self._connections = [found[number] for number in sorted(found)]

    def sum(self, vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the sum of all processes' vectors, added in the order of the ranks."""
        if self.rank:
            (leader,) = self._connections
            wire.send(leader, vector)
            return wire.receive(leader)
        total = vector
        for connection in self._connections:
            total = total + wire.receive(connection)
        for connection in self._connections:
            wire.send(connection, total)
        return total

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()


def server(address: str) -> socket.socket:
    """Return a socket that listens at an address, also just after another one did."""
    return socket.create_server(parsed(address), backlog=128)


def accepted(listener: socket.socket) -> Connection:
    """Wait for somebody who connects.

    Raises:
        TimeoutError: nobody has, in the socket's timeout.
    """
    return Connection(listener.accept()[0].detach())


def connect(address: str, timeout: float) -> Connection:
    """Connect to a listener that may not be there yet.

    Raises:
        TimeoutError: it is not there in time.
    """
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(ConnectionError, socket.gaierror):
            return Client(parsed(address))
        if time.monotonic() >= end:
            raise TimeoutError(f"nobody answers at {address}")
        time.sleep(PAUSE)
