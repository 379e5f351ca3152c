"""A run that is stopped at many moments: ``python tests/crashes.py BACKEND MOMENTS [SIGNAL ...]``.

Runs are trained in another process, which gets the signal. Then the run is resumed, in that process
or, after a kill, in a new one, and its end is compared with that of a run that nobody stopped. A
line of JSON is printed for each: the signal, the step it came at, the steps that were lost, and
whether the parameters are the same bits in the end.
"""

import contextlib
import json
import mmap
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from runs import SMALL, quiet

import d2l_ext
from d2l_ext.training import checkpoint, run, stopping
from d2l_ext.training.settings import read_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
SAVE_EVERY = 5
SETTINGS = SMALL | {
    "max_pairs": 150,
    "batch_size": 30,  # four steps an epoch
    "epochs": 5,
    "save_every": SAVE_EVERY,
    "bleu_sentences": 2,
}


class Victim:
    """A process that trains when it is told to, and whose step is seen from outside."""

    def __init__(self, backend, steps):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--victim", backend, steps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._steps = shared(steps)

    @property
    def step(self):
        """The step that is done."""
        return int.from_bytes(self._steps[:4], "little")

    def train(self, folder, settings=None):
        """Let it start a run, or resume one that is there."""
        self._steps[:4] = bytes(4)
        print(json.dumps([str(folder), settings]), file=self._process.stdin, flush=True)

    def signal(self, number):
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self):
        """Wait until the run has ended, or the process."""
        return self._process.stdout.readline() != ""

    def end(self):
        """End the process."""
        self._process.kill()
        self._process.communicate()


def shared(path):
    """Return four bytes of memory that processes share."""
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 4)


def obey(backend, path):
    """Be a `Victim`."""
    for number in stopping.SIGNALS:  # between two runs they come too late
        signal.signal(number, signal.SIG_IGN)
    d2l_ext.backend(backend)
    steps, write = shared(path), run.Log.write

    def noted(log, event, **values):
        write(log, event, **values)
        if event == "step":
            steps[:4] = values["step"].to_bytes(4, "little")

    run.Log.write = noted
    run.Log.picture = lambda log, path: None  # takes longer than all the rest
    for line in sys.stdin:
        folder, settings = json.loads(line)
        with contextlib.suppress(stopping.Stopped):
            if settings is None:
                run.resume(folder, report=quiet, progress=False)
            else:
                run.start(folder, read_settings(**settings), quiet, progress=False)
        print("ended", flush=True)


def same(one, other):
    a, b = (checkpoint.load(folder / run.LAST) for folder in (one, other))
    return a.parameters.keys() == b.parameters.keys() and all(
        a.parameters[k].tobytes() == b.parameters[k].tobytes() for k in a.parameters
    )


def main(backend, moments, signals):
    settings = {"backend": backend, **SETTINGS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "steps").write_bytes(bytes(4))
        victim = Victim(backend, str(folder / "steps"))
        victim.train(folder / "whole", settings)
        assert victim.wait()
        num_steps, rng = victim.step, np.random.default_rng(0)
        for number in signals:
            for moment in range(moments):
                target = folder / f"{number.name}-{moment}"
                victim.train(target, settings)
                while victim.step < 1 + moment * (num_steps - 2) // moments:
                    time.sleep(0.0002)
                time.sleep(0.02 * rng.random())  # within a step, or while a checkpoint is written
                at = victim.step
                victim.signal(number)
                if not victim.wait():
                    last = victim.step
                    victim.end()
                    victim = Victim(backend, str(folder / "steps"))
                else:
                    last = victim.step
                saved = target / run.LAST
                kept = checkpoint.load(saved).training["num_steps"] if saved.exists() else 0
                victim.train(target)
                assert victim.wait()
                found = {"signal": number.name, "at": at, "last": last, "lost": last - kept}
                print(json.dumps(found | {"same": same(folder / "whole", target)}), flush=True)
        victim.end()


if __name__ == "__main__":
    if sys.argv[1] == "--victim":
        obey(*sys.argv[2:])
    else:
        named = [signal.Signals[name] for name in sys.argv[3:]]
        main(sys.argv[1], int(sys.argv[2]), named or SIGNALS)
