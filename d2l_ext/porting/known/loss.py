"""Losses."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece


def _cross_entropy(piece: Piece) -> Iterator[dict[str, Any]]:
    for logits in piece.floats()[:2]:
        if logits.ndim < 2 or piece.a.size not in (1, logits[..., 0].size):
            continue
        for labels in piece.integers(logits.ndim - 1):
            if labels.shape == logits.shape[:-1] and labels.max(initial=0) < logits.shape[-1]:
                yield {"logits": logits, "labels": labels}


@formula(
    _cross_entropy,
    loss_reduction=("mean", "sum", "none"),
    loss_padding=("counted", "label -100 is not counted", "label 0 is not counted"),
)
def cross_entropy(
    piece: Piece, logits: np.ndarray, labels: np.ndarray, loss_reduction: str, loss_padding: str
) -> np.ndarray:
    """Return log sum exp(logits) - logit of the label, over the last axis."""
    largest = logits.max(axis=-1, keepdims=True)
    normalizer = largest + np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True))
    at = np.maximum(labels, 0)[..., None].astype(int)
    losses = (normalizer - np.take_along_axis(logits, at, axis=-1))[..., 0]
    real = np.ones(labels.shape, bool)
    if loss_padding != "counted":
        real = labels != (0 if "label 0" in loss_padding else -100)
    losses = np.where(real, losses, 0)
    if loss_reduction == "none":
        return losses.reshape(piece.a.shape) if losses.size == piece.a.size else losses
    total = losses.sum()
    y = total / max(real.sum(), 1) if loss_reduction == "mean" else total
    return np.reshape(y, piece.a.shape) if piece.a.size == 1 else y
