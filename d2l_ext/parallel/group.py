"""The processes of one run, seen from one of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from d2l_ext import checks
from d2l_ext.agreement.running import wire

Tensor = Any  # an array of the framework
TIMEOUT = 24 * 3600.0  # seconds: the leader may translate a large validation part meanwhile


class GroupError(RuntimeError):
    """The others cannot be reached any more, or do not do the same as this process."""


class Group(ABC):
    """Processes of one framework that add up their arrays.

    A batch is cut into ``num_shares`` shares. A process has one of them, or with JAX, which may
    have several devices in a process, one for each device.

    Args:
        rank: this process's number, from 0; number 0 leads.
        addresses: ``"host:port"`` of each process, where the engine may listen.
        timeout: seconds that a process waits for the others' part of a sum.

    Attributes:
        rank, addresses: as given.
        size: the number of processes.
        shares: the numbers of this process's shares.
        num_shares: of all processes.

    Raises:
        ValueError: a rank that is none of the addresses'.
        GroupError: the others cannot be reached.
    """

    def __init__(self, rank: int, addresses: Sequence[str], timeout: float = TIMEOUT):
        checks.positive("addresses", len(addresses))
        if not 0 <= rank < len(addresses):
            raise ValueError(f"rank: got {rank}, must be from 0 to {len(addresses) - 1}")
        self.rank, self.addresses, self.timeout = rank, list(addresses), timeout
        self.size = len(addresses)
        self.shares: list[int] = [rank]
        self.num_shares = self.size
        try:
            self._join()
        except Exception as error:  # of whatever kind the engine raises
            raise GroupError(f"process {rank} of {self.size} cannot join: {error}") from error

    @property
    def leads(self) -> bool:
        """Whether this process writes the checkpoints and speaks for the others."""
        return self.rank == 0

    def sum(self, vectors: Sequence[Tensor]) -> Tensor:
        """Add vectors of the framework, one of each share, over all processes.

        Args:
            vectors: (n,), one for each of this process's shares; they may be used up.

        Returns:
            The sum (n,), with the same bits in every process; of two shares it is x + y, of more
            the engine's order decides, which depends on n and the number of processes alone.

        Raises:
            GroupError: another process is gone.
        """
        try:
            return self._sum(vectors)
        except Exception as error:  # of whatever kind the engine raises
            raise GroupError(f"process {self.rank} has lost the others: {error}") from error

    def gather(self, numbers: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "size n"]:
        """Return the numbers of all processes."""
        rows = np.zeros((self.size, len(numbers)))
        rows[self.rank] = numbers
        return self._sum_numpy(rows.ravel()).reshape(rows.shape)

    def send(self, value: Any = None) -> Any:
        """Send a value from the leader to all; each process returns it.

        It goes as a sum with zeros, of whole numbers that are exact in float32 too.

        Args:
            value: the leader's: nested numbers, strings, dictionaries and NumPy arrays.
        """
        message = wire.encode(value) if self.leads else b""
        (length,) = self._sum_numpy(np.array([float(len(message))])).astype(int)
        words = np.zeros(-(-length // 2), np.uint16)
        words.view(np.uint8)[: len(message)] = np.frombuffer(message, np.uint8)
        total = self._sum_numpy(words.astype(np.float64)).astype(np.uint16)
        return wire.decode(total.view(np.uint8)[:length].tobytes())

    def _sum_numpy(self, numbers: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        zeros = [np.zeros_like(numbers)] * (len(self.shares) - 1)
        return self._numpy(self.sum([self._array(x) for x in (numbers, *zeros)]))

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # after an error the others may be gone, and closing may wait for them
            self.close()

    @abstractmethod
    def close(self) -> None:
        """Leave the group; every process does, or the others wait."""

    @abstractmethod
    def _join(self) -> None:
        """Meet the others."""

    @abstractmethod
    def _sum(self, vectors: Sequence[Tensor]) -> Tensor:
        """As `sum`, with whatever errors the engine has."""

    @abstractmethod
    def _array(self, x: Float64[np.ndarray, " n"]) -> Tensor:
        """Copy a NumPy vector to the framework."""

    @abstractmethod
    def _numpy(self, y: Tensor) -> Float64[np.ndarray, " n"]:
        """Copy a vector of the framework to NumPy."""
