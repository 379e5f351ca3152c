"""Addresses: which are this machine's, on which interface, and which ports are free."""

import contextlib
import fcntl
import socket
import struct

PORT = 29500  # of the first host, where none is given; the workers' follow it
_SIOCGIFADDR = 0x8915


def parsed(address: str) -> tuple[str, int]:
    """Return host and port of ``"host:port"``."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_here(host: str) -> bool:
    """Return whether an address is this machine's: whether one can listen there.

    Raises:
        ValueError: a name that has no address.
    """
    try:
        number = socket.gethostbyname(host)
    except OSError:
        raise ValueError(f"hosts: got {host!r}, which has no address") from None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.bind((number, 0))
        except OSError:
            return False
        return True


def interface_of(address: str) -> str:
    """Return the network interface that has an address of this machine (``"host:port"``).

    Raises:
        ValueError: none has it.
    """
    number = socket.gethostbyname(parsed(address)[0])
    if number.startswith("127."):
        return "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                asked = fcntl.ioctl(asker, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(asked[20:24]) == number:
                    return name
    raise ValueError(f"address: got {address}, must be of a network interface of this machine")


def free_ports(host: str, number: int) -> list[int]:
    """Return ports of this machine at which nobody listens now."""
    with contextlib.ExitStack() as stack:
        trials = [stack.enter_context(socket.socket()) for _ in range(number)]
        for trial in trials:
            trial.bind((host, 0))
        return [trial.getsockname()[1] for trial in trials]
