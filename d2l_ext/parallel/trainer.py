"""The training step of several processes."""

import math
import zlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from d2l_ext import checks
from d2l_ext.interface import BETA1, BETA2, Batch, Masks, Model, Nested, Tensor, Trainer
from d2l_ext.parallel.group import Group, GroupError
from d2l_ext.parallel.shares import cut, cut_masks, rows_of
from d2l_ext.training.stopping import SIGNALS

DTYPES = ("float32", "float64")
HEAD = 3 + len(SIGNALS)  # numbers before the gradients in what is summed
COUNT, CHECK = 1, 2
CHECKS = 1 << 12  # values of a batch's checksum: sums of some thousand are exact in float32


class SharedTrainer(Trainer):
    """A `Trainer` whose batches are shared by the processes of a group.

    With s the sum of the losses of a share's real tokens and n their number, over all shares

        loss = sum s / max(sum n, 1)        g = sum ds/dp / max(sum n, 1)

    which is what one process has. A mean of the shares' means would be something else wherever
    they have different numbers of tokens. Clipping (by the norm of this g) and Adam follow in every
    process alike, from the same bits, so parameters stay the same without being sent.

    Dropout masks are those of the whole batch, cut to the shares.

    Args:
        model, lr, max_norm, pad, compile: as of `Trainer`.
        group: the `Group`.

    Attributes:
        signal: a function that says which signal has asked this process to stop, or None.
        asked: the signal that some process had been asked by when the last step began, or None: all
            processes know it after the same step.

    Raises:
        ValueError: a model in half precision, in which sums have too few digits.
    """

    def __init__(
        self,
        model: Model,
        lr: float,
        max_norm: float | None = None,
        pad: int | None = None,
        compile: bool | None = None,
        *,
        group: Group,
    ):
        checks.choice("dtype (of a shared run)", model.dtype, (*DTYPES, "longdouble"))
        super().__init__(model, lr, max_norm, pad, compile)
        self.group = group
        self.signal: Callable[[], int | None] = lambda: None
        self.asked: int | None = None
        self._size = HEAD + sum(math.prod(shape) for shape in model.shapes().values())

    def step(self, batch: Batch, dropout: Masks | str = None) -> float:
        """Do one training step with the others; as `Trainer.step`, with the whole batch.

        Raises:
            ValueError: dropout by the framework's own generator, which may draw the same masks in
                every process.
            GroupError: another process is gone, or has another batch.
        """
        return self.apply(self.group.sum(self.sums(batch, dropout)), batch)

    def sums(self, batch: Batch, dropout: Masks | str = None) -> list[Tensor]:
        """Return the sums of each of this process's shares.

        A vector has the sum of the losses, the number of real tokens, the checksum of the batch,
        for each signal whether it has come, and the gradient of the sum of the losses.
        """
        if isinstance(dropout, str):
            raise ValueError(f"dropout: got {dropout!r}, must be masks or None in a shared run")
        *inputs, labels = batch
        masks = self.model.masks(inputs, dropout, self.num_steps)
        signal, checksum, vectors = self.signal(), self._checksum(batch), []
        for place, number in enumerate(self.group.shares):
            rows = rows_of(len(labels), number, self.group.num_shares)
            *part, part_labels = cut(batch, rows)
            asked = [float(place == 0 and signal == s) for s in SIGNALS]
            tail = np.array([self._real(part_labels), checksum, *asked])
            if rows.start == rows.stop:
                vectors.append(self._nothing(place, tail))
                continue
            part_masks = masks
            if masks is not None:
                whole, layers = (self.model.dropout_layers(*x) for x in (inputs, part))
                part_masks = cut_masks(masks, whole, layers, rows, len(labels))
            vectors.append(self._sums(place, part, part_labels, part_masks, self._typed(tail)))
        return vectors

    def apply(self, total: Tensor, batch: Batch) -> float:
        """Do the step that is the same in every process; return the loss.

        Args:
            total: the sum of all shares' `sums`.
            batch: the whole.

        Raises:
            GroupError: the shares are not those of this batch.
        """
        head = np.asarray(self.model.backend.numpy(total[:HEAD]), np.float64)
        self._compare(head, batch)
        self.asked = next((s for s, n in zip(SIGNALS, head[3:], strict=True) if n), None)
        t = self.num_steps + 1
        count = max(float(head[COUNT]), 1.0)
        loss = self._apply(total, count, 1 - BETA1**t, 1 - BETA2**t)
        self.num_steps = t
        return self._number(loss)

    def _real(self, labels: np.ndarray) -> int:
        """Count the labels that the loss counts."""
        return labels.size if self.pad is None else int(np.count_nonzero(labels != self.pad))

    def _checksum(self, batch: Batch) -> int:
        """Return a small checksum of the step's number and the batch."""
        found = zlib.crc32(str(self.num_steps).encode())
        for x in batch:
            found = zlib.crc32(np.ascontiguousarray(x).tobytes(), found)
        return found % CHECKS

    def _compare(self, head: Float[np.ndarray, " head"], batch: Batch) -> None:
        wanted = self._real(np.asarray(batch[-1])), self._checksum(batch) * self.group.num_shares
        if head[CHECK] != wanted[1]:
            raise GroupError(
                f"the processes have different batches in step {self.num_steps + 1}: they must have"
                " the same data, settings and order"
            )
        if head[COUNT] != wanted[0]:
            raise GroupError(
                f"the shares of step {self.num_steps + 1} have {head[COUNT]:.0f} real tokens, but"
                f" its batch has {wanted[0]}"
            )

    def _typed(self, tail: np.ndarray) -> np.ndarray:
        return tail.astype(self.model.numpy_dtype)

    def _nothing(self, place: int, tail: np.ndarray) -> Tensor:
        """Return the sums of a share without a row."""
        vector = np.zeros(self._size, self.model.numpy_dtype)
        vector[1:HEAD] = tail
        return self.model.backend.array(vector)

    @abstractmethod
    def _sums(
        self, place: int, inputs: Nested, labels: np.ndarray, masks: Masks, tail: np.ndarray
    ) -> Tensor:
        """Return a share's sums.

        Args:
            place: which of this process's shares it is, from 0.
            inputs, labels: of the share, NumPy; at least one row.
            masks: the share's, or None.
            tail: what stands between the loss and the gradients, NumPy; the number of real tokens
                first.

        Returns:
            A vector of the framework: the sum of the losses, the tail, and the gradients of the
            sum, one after the other in an order of the column's own.
        """

    @abstractmethod
    def _apply(self, total: Tensor, count: float, correction1: float, correction2: float) -> Any:
        """Divide by the count, clip, and update parameters and moments.

        Args:
            total: the sum of what `_sums` returns, over all shares.
            count: of real tokens.
            correction1, correction2: as in `_step`.

        Returns:
            The loss before the update, a scalar of the framework.
        """
