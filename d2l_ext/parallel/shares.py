"""A batch cut into shares, and the dropout masks of the whole batch cut with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2l_ext.interface import Batch

Layers = Mapping[str, tuple[float, tuple[int, ...]]]  # as `Model.dropout_layers` returns them


def rows_of(num_rows: int, number: int, num_shares: int) -> slice:
    """Return the rows of a share: they follow each other, and the first shares may have one more.

    Args:
        num_rows: of the batch.
        number: of the share, from 0.
        num_shares: their number; it may be larger than that of the rows, and some are empty.
    """
    least, more = divmod(num_rows, num_shares)
    start = number * least + min(number, more)
    return slice(start, start + least + (number < more))


def cut(batch: Batch, rows: slice) -> list[Any]:
    """Return rows of a batch: a model's inputs and, last, the labels.

    The coins of teacher forcing, booleans (num_steps,), are for all rows and stay whole.
    """
    return [x if x.ndim == 1 and x.dtype == bool else x[rows] for x in map(np.asarray, batch)]


def cut_masks(
    masks: Mapping[str, np.ndarray], whole: Layers, part: Layers, rows: slice, num_rows: int
) -> Mapping[str, np.ndarray]:
    """Return what some rows of a batch have of its dropout masks.

    The rows lie along one axis of a mask, which is the one whose size differs between the shapes
    that the batch and its part ask for; a row may have several entries there, one after the other
    (heads).

    Args:
        masks: of the batch, by canonical path.
        whole, part: the layers that act on the batch, and on the part.
        rows: of the part.
        num_rows: of the batch.

    Raises:
        ValueError: a mask without an axis of the batch, which shares cannot have in common.
    """
    if rows == slice(0, num_rows):
        return masks
    return {
        path: _cut_mask(path, mask, whole[path][1], part[path][1], rows, num_rows)
        for path, mask in masks.items()
        if path in part
    }


def _cut_mask(
    path: str,
    mask: np.ndarray,
    whole: tuple[int, ...],
    part: tuple[int, ...],
    rows: slice,
    num_rows: int,
) -> np.ndarray:
    differing = [
        axis for axis, sizes in enumerate(zip(whole, part, strict=True)) if len({*sizes}) > 1
    ]
    if len(differing) != 1:
        raise ValueError(f"{path}: got a mask {whole}, must have one axis for the batch")
    each = whole[differing[0]] // num_rows
    index = [slice(None)] * mask.ndim
    index[differing[0]] = slice(rows.start * each, rows.stop * each)
    return mask[tuple(index)]
