"""Workers seen from the parent: each request has a time limit, and every end is survived."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2l_ext.agreement.running import wire
from d2l_ext.environment import ENVIRONMENT


class WorkerError(Exception):
    """A worker did not do what it was asked; the message says why.

    Attributes:
        details: more lines: a traceback, or what the worker last printed.
        dead: whether the worker is gone.
    """

    def __init__(self, message, details="", dead=True):
        super().__init__(message)
        self.details, self.dead = details, dead


class Worker:
    """A backend in a process of its own.

    Args:
        name: the backend.
        python: the interpreter; by default this one.
        limit: seconds that a request may take, unless it says otherwise.
        environment: variables that are set.
    """

    def __init__(
        self,
        name: str,
        python: str | None = None,
        limit: float = 300,
        environment: Mapping[str, str] = ENVIRONMENT,
    ):
        self.name, self.limit = name, limit
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        package = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        command = [python or sys.executable, "-m", f"{__package__}.worker", name]
        try:
            self._process = subprocess.Popen(
                [*command, str(requests), str(answers)],
                pass_fds=(requests, answers),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | environment | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            self._close()
            raise WorkerError(f"the interpreter {python} does not start: {error}") from error
        finally:
            os.close(requests)
            os.close(answers)
        os.set_blocking(self._requests, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self._close()

    def ask(self, what: str, *arguments: Any, limit: float | None = None) -> Any:
        """Ask for one thing and return the answer.

        Args:
            what: a method of `worker.Service`.
            *arguments: its arguments.
            limit: seconds.

        Raises:
            WorkerError: it failed, crashed, was too slow or answered garbage.
        """
        deadline = time.monotonic() + (limit or self.limit)
        try:
            self._write(wire.encode({"do": what, "with": arguments}), deadline)
            header = self._read(wire.HEADER.size, deadline)
            answer = wire.decode(header + self._read(wire.size(header), deadline))
        except wire.GarbageError as error:
            self.stop()
            raise WorkerError(f"answered garbage: {error}", self._printed()) from error
        except TimeoutError:
            self.stop()
            seconds = limit or self.limit
            raise WorkerError(f"gave no answer in {seconds:g} s", self._printed()) from None
        except (EOFError, BrokenPipeError):
            raise WorkerError(self._end(), self._printed()) from None
        if "error" in answer:
            raise WorkerError(answer["error"], answer["traceback"], dead=False)
        return answer["value"]

    def stop(self):
        """End the process; a second call does nothing."""
        self._process.kill()
        self._process.wait()

    def _close(self):
        os.close(self._requests)
        os.close(self._answers)
        self._log.close()

    def _write(self, message, deadline):
        view = memoryview(message)
        while view:
            self._wait(self._requests, selectors.EVENT_WRITE, deadline)
            view = view[os.write(self._requests, view) :]

    def _read(self, count, deadline):
        parts = []
        while count:
            self._wait(self._answers, selectors.EVENT_READ, deadline)
            part = os.read(self._answers, min(count, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    @staticmethod
    def _wait(descriptor, event, deadline):
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise TimeoutError

    def _end(self):
        """Say how the process ended."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.stop()
            return "closed its answers"
        if code >= 0:
            return f"ended with status {code}"
        name = signal.Signals(-code).name
        killed = " (the system may have run out of memory)" if name == "SIGKILL" else ""
        return f"was ended by {name}{killed}"

    def _printed(self):
        """Return the last lines that the worker printed."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-20:])
