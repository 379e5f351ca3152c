"""A training run of several processes, seen from one of them; the leader keeps the files."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.interface import Trainer
from d2l_ext.parallel.group import Group, GroupError
from d2l_ext.parallel.trainer import SharedTrainer
from d2l_ext.training import checkpoint
from d2l_ext.training.run import Bookkeeping, Log, Run
from d2l_ext.training.settings import Settings
from d2l_ext.training.stopping import Request

WORDS = 8  # of a fingerprint, each of 16 bits


class SharedRun(Run):
    """A `Run` whose steps are shared.

    All processes do the same steps; the leader alone validates, and writes logs and checkpoints.
    A checkpoint is that of a run in one process. Before one is written, the processes compare
    their parameters.

    Args:
        folder, settings, report, saved: as of `Run`; other processes than the leader write nothing
            in the folder.
        group: the `Group`.
    """

    trainer: SharedTrainer

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        report: Callable[[str], object],
        saved: checkpoint.Checkpoint | None = None,
        *,
        group: Group,
    ):
        self.group = group
        super().__init__(folder, settings, report, saved)

    def train(self, progress: bool | None = None) -> None:
        """Take over the leader's state, and train."""
        self._synchronise()
        super().train(progress)

    def _with(self) -> dict[str, Any]:
        return {"group": self.group}

    def _synchronise(self) -> None:
        """Take over the leader's parameters, moments and bookkeeping.

        Raises:
            ValueError: this process has other data than the leader.
            GroupError: the processes differ all the same.
        """
        state = None
        if self.group.leads:
            state = {
                "parameters": self.model.parameters(),
                "training": self.trainer.state(),
                "progress": dataclasses.asdict(self.progress),
                "digest": self.task.digest,
            }
        state = self.group.send(state)
        if state["digest"] != self.task.digest:
            raise ValueError(f"{self.settings.data}: has other data here than where the leader is")
        if not self.group.leads:
            self.model.load_parameters(state["parameters"])
            self.trainer.load_state(state["training"])
            self.progress = Bookkeeping(**state["progress"])
        self._compare()

    def _compare(self) -> None:
        """Raise a GroupError where a process has other parameters or moments than the leader."""
        own = fingerprint(self.model.parameters(), self.trainer)
        rows = self.group.gather(own)
        different = [str(rank) for rank, row in enumerate(rows) if not np.array_equal(row, rows[0])]
        if different:
            raise GroupError(
                f"worker {', '.join(different)} has other parameters than the leader at step"
                f" {self.trainer.num_steps}"
            )

    def _new_log(self) -> Log:
        return super()._new_log() if self.group.leads else UnwrittenLog()

    def _fit(self, num_steps: int, progress: bool | None) -> None:
        request = self._request
        self.trainer.signal = lambda: request.signal
        self._request = Agreed(self.trainer)
        super()._fit(num_steps, progress if self.group.leads else False)

    def _evaluate(self) -> dict[str, Any]:
        return self.group.send(super()._evaluate() if self.group.leads else None)

    def _save(self, name: str, trainer: Trainer | None) -> None:
        self._compare()
        if self.group.leads:
            super()._save(name, trainer)


class Agreed(Request):
    """The request to stop that all processes know of since the last step."""

    def __init__(self, trainer: SharedTrainer):
        self._trainer = trainer

    @property
    def signal(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The number of the signal that came to some process."""
        return self._trainer.asked


class UnwrittenLog(Log):
    """What a process that does not lead knows of its own steps."""

    def __init__(self):
        self._entries = []

    def __enter__(self) -> "UnwrittenLog":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, event: str, **values: Any) -> None:
        """Keep an entry."""
        self._entries.append({"event": event, **values})

    def picture(self, path: str | Path) -> None:
        """Draw nothing: the leader does."""


def fingerprint(parameters: dict[str, np.ndarray], trainer: Trainer) -> np.ndarray:
    """Return a hash of parameters and training state, as whole numbers (`WORDS`,), float64."""
    state = trainer.state()
    found = hashlib.sha256(str(state["num_steps"]).encode())
    for arrays in (parameters, state["m"], state["v"]):
        for name in sorted(arrays):
            found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return np.frombuffer(found.digest(), np.uint16)[:WORDS].astype(np.float64)
