"""A training run in a folder, which may be killed at any moment and resumed.

The folder has

    config.toml         the settings
    last.safetensors    the latest state of model, optimiser and bookkeeping
    best.safetensors    the parameters that did best on the validation part
    log.jsonl           a line for each step and for each epoch
    losses.png          the losses so far

Everything that a step computes follows from the settings and the step's number, so a resumed run
does what one that was never stopped would have done, bit for bit in one framework.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import d2l_ext
from d2l_ext import plotting
from d2l_ext.files import locked, replacing
from d2l_ext.interface import Trainer
from d2l_ext.training import checkpoint, stopping
from d2l_ext.training.loop import History, fit
from d2l_ext.training.memory import check_memory
from d2l_ext.training.settings import Settings, read_settings
from d2l_ext.training.tasks import task

CONFIG, LAST, BEST, LOG, PICTURE = (
    "config.toml",
    "last.safetensors",
    "best.safetensors",
    "log.jsonl",
    "losses.png",
)
EXPLODED = 1e4  # a loss of the size of exp(-10000) for the right token


def start(
    folder: str | Path,
    settings: Settings,
    report: Callable[[str], object] = print,
    progress: bool | None = None,
    make: "Callable[..., Run] | None" = None,
) -> "Run":
    """Start a run in a new folder and train.

    Args:
        folder: where to; it may exist, but not with another run in it.
        settings: `Settings`.
        report: called with a line of text now and then.
        progress: as in `fit`.
        make: makes the run from folder, settings and report; by default `Run`.

    Returns:
        The `Run`, when it has ended.

    Raises:
        ValueError: there is a run in the folder, or the settings or the data are not right.
        Stopped: by Ctrl-C or SIGTERM, after a checkpoint was written.
        FloatingPointError: the loss is not finite, or has exploded.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists():
        raise ValueError(f"{folder}: has a run already; resume it, or choose another folder")
    run = (make or Run)(folder, settings, report)
    with locked(folder):
        settings.write(folder / CONFIG)
        run.train(progress)
    return run


def resume(
    folder: str | Path,
    report: Callable[[str], object] = print,
    progress: bool | None = None,
    epochs: int | None = None,
    make: "Callable[..., Run] | None" = None,
) -> "Run":
    """Go on with a run that was stopped; as `start`, with the settings in the folder.

    With ``epochs`` it goes on until there have been so many in all, also if it had ended.
    """
    folder = Path(folder)
    _check_there_is_one(folder)
    with locked(folder):
        settings = settings_of(folder, epochs)
        saved = checkpoint.load(folder / LAST) if (folder / LAST).exists() else None
        run = (make or Run)(folder, settings, report, saved)
        if saved is not None:
            run.restore(saved)
        if epochs is not None:
            run.lengthen()
        run.train(progress)
    return run


def settings_of(folder: Path, epochs: int | None = None) -> Settings:
    """Return the settings of the run in a folder, with another number of epochs if it is given."""
    _check_there_is_one(folder)
    settings = read_settings(folder / CONFIG)
    return settings if epochs is None else dataclasses.replace(settings, epochs=epochs)


def _check_there_is_one(folder: Path) -> None:
    if not (folder / CONFIG).exists():
        raise ValueError(f"{folder}: has no run to resume (there is no {CONFIG})")


@dataclasses.dataclass
class Bookkeeping:
    """What a resumed run needs to know of itself.

    Attributes:
        epoch: how many epochs are complete.
        best_epoch: the one with the best score on the validation part.
        best_score: that score, BLEU for translators and the negative loss for language models.
        stopped: whether early stopping has ended the run.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    stopped: bool = False


class Run:
    """One run: data, model, trainer, and the files in its folder."""

    _log: "Log"  # while it trains
    _request: stopping.Request

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        report: Callable[[str], object],
        saved: checkpoint.Checkpoint | None = None,
    ):
        self.folder, self.settings, self._report = folder, settings, report
        self.task = task(settings, None if saved is None else saved.subwords)
        vocabs = (self.task.src_vocab, self.task.tgt_vocab)
        check_memory(settings, sum(len(vocab) for vocab in vocabs if vocab is not None))
        self.backend = d2l_ext.backend(settings.backend)
        batch = next(iter(self.task.train.batches(settings.seed, 0)))
        self.model = self.backend.model(
            self.task.module(self.backend.api),
            *(x[:1] for x in batch[:-1]),  # sizes of weights follow from one row
            seed=settings.seed,
            dtype=settings.dtype,
        )
        self.trainer = self.backend.trainer(
            self.model, settings.lr, settings.max_norm or None, self.task.train.pad, **self._with()
        )
        self.progress = Bookkeeping()

    def _with(self) -> dict[str, Any]:
        """Return further arguments of the trainer."""
        return {}

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: it is from another corpus, or another model.
        """
        if saved.info.get("digest") != self.task.digest:
            raise checkpoint.CheckpointError(
                f"{self.folder / LAST}: was trained on other data than {self.settings.data} is now"
            )
        if saved.training is None:
            raise checkpoint.CheckpointError(f"{self.folder / LAST}: has no training state")
        try:
            self.model.load_parameters(saved.parameters)
            self.trainer.load_state(saved.training)
        except ValueError as error:
            raise checkpoint.CheckpointError(f"{self.folder / LAST}: {error}") from error
        try:
            self.progress = Bookkeeping(**saved.info["progress"])
        except (KeyError, TypeError):
            raise checkpoint.CheckpointError(
                f"{self.folder / LAST}: was written by another version of d2l_ext"
            ) from None

    def lengthen(self) -> None:
        """Go on although the run had ended, with the new number of epochs in its settings."""
        done, wanted = self.progress.epoch, self.settings.epochs
        if wanted < done:
            raise ValueError(f"epochs: got {wanted}, must be at least the {done} that are done")
        self.progress.stopped = False
        self.settings.write(self.folder / CONFIG)

    def train(self, progress: bool | None = None) -> None:
        """Train until the end, or until it is stopped, early or by a signal."""
        train, settings = self.task.train, self.settings
        self._report(self._summary())
        if self.progress.stopped:
            self._report(self._outcome())
            return
        num_steps = settings.epochs * train.num_batches
        self._log = self._new_log()
        with self._log, stopping.requests() as self._request:
            self._fit(num_steps, progress)
        self._report(self._outcome())

    def _new_log(self) -> "Log":
        return Log(self.folder / LOG, self.trainer.num_steps, self.progress.epoch)

    def _evaluate(self) -> dict[str, Any]:
        return self.task.evaluate(self.model, self.trainer)

    def _fit(self, num_steps: int, progress: bool | None) -> None:
        train, settings = self.task.train, self.settings
        try:
            fit(
                self.trainer,
                train,
                settings.epochs,
                seed=settings.seed,
                teacher_forcing_ratio=settings.teacher_forcing_ratio,
                on_step=self._after_step,
                on_epoch=self._after_epoch,
                schedule=lambda step: settings.learning_rate(step, num_steps),
                progress=progress,
            )
        except FloatingPointError as error:
            error.add_note(self._last_good())
            raise

    def _summary(self) -> str:
        *lines, last = self.task.summary()
        number = sum(x.size for x in self.model.parameters().values())
        lines.append(
            f"{last}; {self.settings.model} with {number:,} parameters in {self.backend.name}"
            f" {self.backend.version}"
        )
        if self.trainer.num_steps:
            lines.append(f"resumed after step {self.trainer.num_steps}")
        return "\n".join(lines)

    def _outcome(self) -> str:
        best = self.progress
        early = " (stopped early)" if best.stopped else ""
        return (
            f"{best.epoch} epochs{early}; best {self.task.show(best.best_score)} in epoch"
            f" {best.best_epoch}: {self.folder / BEST}"
        )

    def _after_step(self, step: int, loss: float) -> None:
        if loss > EXPLODED:
            raise FloatingPointError(
                f"the loss has exploded, it is {loss:.3g} at step {step}: try a lower learning rate"
            )
        self._log.write("step", step=step, loss=loss, lr=self.trainer.lr)
        if step % self.task.train.num_batches == 0:
            return  # the end of an epoch has its own checkpoint, after the validation
        every = self.settings.save_every
        if self._request.signal is not None or (every and step % every == 0):
            self._save(LAST, self.trainer)
        self._request.answer(step)

    def _last_good(self) -> str:
        """Say what is left of a run that has gone wrong."""
        if (self.folder / LAST).exists():
            return f"the last good checkpoint is {self.folder / LAST}"
        return "there is no checkpoint before it"

    def _after_epoch(self, epoch: int, history: History) -> bool:
        losses = self._log.losses[-self.task.train.num_batches :]
        started = time.perf_counter()
        measured = self._evaluate()
        score = self.task.score(measured)
        is_best = score > self.progress.best_score
        self.progress.epoch = epoch
        if is_best:
            self.progress.best_epoch, self.progress.best_score = epoch, score
        patience = self.settings.patience
        waited = epoch - self.progress.best_epoch
        self.progress.stopped = bool(patience) and waited >= patience
        self._log.write(
            "epoch",
            epoch=epoch,
            step=self.trainer.num_steps,
            loss=float(np.mean(losses)),
            **measured,
            best=is_best,
            tokens_per_second=round(history.tokens_per_second, 1),
            validation_seconds=round(time.perf_counter() - started, 2),
        )
        if is_best:
            self._save(BEST, None)
        self._save(LAST, self.trainer)
        self._log.picture(self.folder / PICTURE)
        self._report(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, validation loss"
            f" {measured['val_loss']:.3f}, {self.task.show(score)}{' (best)' if is_best else ''},"
            f" {history.tokens_per_second:,.0f} tokens/s"
        )
        if epoch < self.settings.epochs and not self.progress.stopped:
            self._request.answer(self.trainer.num_steps)
        return self.progress.stopped

    def _save(self, name: str, trainer: Trainer | None) -> None:
        self._log.flush()  # so that the log is never behind the checkpoint
        checkpoint.save(
            self.folder / name,
            self.model,
            self.task.src_vocab,
            self.task.tgt_vocab,
            trainer,
            info={
                "settings": dataclasses.asdict(self.settings),
                "progress": dataclasses.asdict(self.progress),
                "digest": self.task.digest,
            },
        )


class Log:
    """JSON lines, one for each step and each epoch; those after a checkpoint are done again.

    Args:
        path: the file; what is there is kept up to `num_steps` and `num_epochs`.
        num_steps: the checkpoint's step.
        num_epochs: its number of complete epochs.
    """

    _file: BinaryIO  # within a ``with`` block

    def __init__(self, path: str | Path, num_steps: int, num_epochs: int):
        self._path = path
        limits = {"step": num_steps, "epoch": num_epochs}
        self._entries = [e for e in read_log(path) if e[e["event"]] <= limits[e["event"]]]
        with replacing(path) as file:
            file.writelines(_line(entry) for entry in self._entries)

    def __enter__(self) -> "Log":
        self._file = open(self._path, "ab")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, event: str, **values: Any) -> None:
        """Add a line."""
        entry = {"event": event, **values}
        self._entries.append(entry)
        self._file.write(_line(entry))

    def flush(self) -> None:
        """Bring all lines to the file."""
        self._file.flush()

    @property
    def losses(self) -> list[float]:
        """The loss of each step."""
        return [entry["loss"] for entry in self._entries if entry["event"] == "step"]

    def picture(self, path: str | Path) -> None:
        """Draw the training loss, in means of some steps, and the validation loss of each epoch."""
        epochs = [entry for entry in self._entries if entry["event"] == "epoch"]
        validation = [e["step"] for e in epochs], [e["val_loss"] for e in epochs]
        training = _means(self.losses)
        plotting.loss_curves({"training": training, "validation": validation}, path=path)


def _means(losses: list[float], most: int = 200) -> tuple[list[int], list[float]]:
    """Return steps and means of as many losses as leave at most `most` points: batches differ."""
    width = math.ceil(len(losses) / most)
    steps = range(width, len(losses) + 1, width)
    return list(steps), [float(np.mean(losses[step - width : step])) for step in steps]


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Return the entries of a log; a last line that was not finished is left out."""
    if not Path(path).exists():
        return []
    entries = []
    for line in Path(path).read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or entry.get("event") not in ("step", "epoch"):
            break
        entries.append(entry)
    return entries
