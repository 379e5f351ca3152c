"""Small images with labels, in batches, for classifiers."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from d2l_ext import checks

DAMAGED = (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load_images(
    source: str | Path = "bundled",
) -> tuple[Float32[np.ndarray, "num channels height width"], Int64[np.ndarray, " num"]]:
    """Return images (num, channels, height, width), from 0 to 1 by default, and labels (num,).

    Args:
        source: ``"bundled"``, the 1,797 handwritten digits of scikit-learn, 8 by 8 pixels (Alpaydin
            and Kaynak, 1998); or the path of an ``.npz`` file with ``images``, (num, height, width)
            or with channels, and ``labels``, (num,), from 0.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: the file has no such arrays.
    """
    if str(source) == "bundled":
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise ImportError(
                "the digits are a part of scikit-learn: pip install 'd2l-ext[images]'"
            ) from None
        found: Any = load_digits()
        images, labels = found.images / 16, found.target
    else:
        images, labels = _read(Path(source))
    images = images if images.ndim == 4 else images[:, None]
    return images.astype(np.float32), labels.astype(np.int64)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of arrays."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    except FileNotFoundError:
        raise
    # A damaged file fails in many ways, and a single array is no file that has several.
    except (*DAMAGED, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: must be an .npz file with images and labels ({error})") from None
    if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or images.size == 0:
        raise ValueError(
            f"{path}: got images {images.shape} and labels {labels.shape}, must be (num, height,"
            " width) or (num, channels, height, width), and (num,)"
        )
    if images.dtype.kind not in "biuf":
        raise ValueError(f"{path}: got images of dtype {images.dtype}, must be numbers")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"{path}: got labels of dtype {labels.dtype}, must be whole, from 0")
    return images, labels


class ImageData:
    """Images in three parts, drawn once, as batches (images, labels).

    Args:
        images: (num, channels, height, width).
        labels: (num,), from 0.
        batch_size: images of a batch.
        val_fraction, test_fraction: shares for validation and test.

    Attributes:
        train, val, test: the parts, each a pair of arrays.
        num_classes: one more than the largest label.
        pad: None; every label counts.

    Raises:
        ValueError: a part has no image.
    """

    pad = None

    def __init__(
        self,
        images: Float[np.ndarray, "num channels height width"],
        labels: Int64[np.ndarray, " num"],
        batch_size: int = 64,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
    ):
        checks.positive("batch_size", batch_size)
        self.batch_size, self.num_classes = batch_size, int(labels.max()) + 1
        order = np.random.default_rng(0).permutation(len(images))
        num_val, num_test = (round(share * len(images)) for share in (val_fraction, test_fraction))
        if num_val < 1 or num_val + num_test >= len(images):
            raise ValueError(f"images: got {len(images)}, must be more for three parts")
        parts = np.split(order, [num_val, num_val + num_test])
        self.val, self.test, self.train = ((images[part], labels[part]) for part in parts)

    @property
    def num_batches(self) -> int:
        """The number of training batches in an epoch."""
        return math.ceil(len(self.train[1]) / self.batch_size)

    def batches(
        self, seed: int, epoch: int, train: bool = True
    ) -> Iterator[
        tuple[Float[np.ndarray, "batch channels height width"], Int64[np.ndarray, " batch"]]
    ]:
        """Yield (images, labels); the last batch may be smaller.

        The order of training images is drawn in NumPy from (`seed`, `epoch`); images for validation
        come in their order.
        """
        images, labels = self.train if train else self.val
        order = np.arange(len(labels))
        if train:
            order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for first in range(0, len(labels), self.batch_size):
            rows = order[first : first + self.batch_size]
            yield images[rows], labels[rows]
