"""Workers seen from the parent: each request has a time limit, and every end is survived."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from typing import Any

from d2l_ext.agreement.running import wire
from d2l_ext.environment import ENVIRONMENT, importable


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
        self._thread = ThreadPoolExecutor(
            1
        )  # waits at the pipes, so that the waiting can be limited
        requests, self._requests = Pipe(duplex=False)
        self._answers, answers = Pipe(duplex=False)
        command = [python or sys.executable, "-m", f"{__package__}.worker", name]
        pipes = requests.fileno(), answers.fileno()
        try:
            self._process = subprocess.Popen(
                [*command, *map(str, pipes)],
                pass_fds=pipes,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | environment | importable() | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # what it starts ends with it
            )
        except OSError as error:
            self._close()
            raise WorkerError(f"the interpreter {python} does not start: {error}") from error
        finally:
            requests.close()
            answers.close()

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
        seconds = limit or self.limit
        try:
            answer = self._thread.submit(self._exchange, what, arguments).result(seconds)
        except TimeoutError:  # it never reads, never answers or stops amid an answer
            self.stop()
            raise WorkerError(f"gave no answer in {seconds:g} s", self._printed()) from None
        except wire.GarbageError as error:
            self.stop()
            raise WorkerError(f"answered garbage: {error}", self._printed()) from error
        except (EOFError, OSError):
            raise WorkerError(self._end(), self._printed()) from None
        if "error" in answer:
            raise WorkerError(answer["error"], answer["traceback"], dead=False)
        return answer["value"]

    def stop(self):
        """End the process and what it started; a second call does nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _exchange(self, what, arguments):
        wire.send(self._requests, {"do": what, "with": arguments})
        return wire.receive(self._answers)

    def _close(self):
        self._thread.shutdown()
        self._requests.close()
        self._answers.close()
        self._log.close()

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
