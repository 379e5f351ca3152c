"""Signals that ask a run to stop: it ends its step and writes a checkpoint first."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\nstopping after this step; once more stops at once\n"


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal, after it had written a checkpoint.

    Attributes:
        step: the step of the checkpoint.
        signal: the signal's number.
    """

    def __init__(self, step: int, number: int):
        super().__init__(f"stopped at step {step}")
        self.step, self.signal = step, number


class Request:
    """What has been asked for.

    Attributes:
        signal: the number of the signal that came, or None.
    """

    signal: int | None = None

    def answer(self, step: int) -> None:
        """Raise `Stopped` if there was a signal; to be called when a checkpoint is written."""
        if self.signal is not None:
            raise Stopped(step, self.signal)


@contextlib.contextmanager
def requests(notice: bytes = NOTICE) -> Iterator[Request]:
    """Take Ctrl-C and SIGTERM as requests; a second one is a KeyboardInterrupt at once.

    The first is answered with a notice on the standard error. Signals reach the main thread only;
    in another one nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: object) -> None:
        if request.signal is not None:
            raise KeyboardInterrupt
        request.signal = number
        with contextlib.suppress(OSError):
            os.write(2, notice)  # a buffered stream may be in use at this moment

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
