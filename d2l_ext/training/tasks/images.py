"""ViT: images in three parts, their labels, and the share that is right."""

import hashlib
from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.data import ImageData, load_images
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.evaluation import mean_loss
from d2l_ext.training.settings import Settings
from d2l_ext.training.tasks.base import Task


class ImageTask(Task):
    """Images with labels.

    Attributes:
        train: `ImageData`.
    """

    train: ImageData
    src_vocab = tgt_vocab = None

    def __init__(self, settings: Settings):
        super().__init__(settings)
        images, labels = load_images(settings.data)
        self.digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        fractions = settings.val_fraction, settings.test_fraction
        self.train = ImageData(images, labels, settings.batch_size, *fractions)

    def module(self, api: ModuleType) -> Module:
        """Build the model."""
        s, images = self.settings, self.train.train[0]
        return api.ViT(
            images.shape[2:],
            s.patch_size,
            *(s.num_hiddens, s.ffn_num_hiddens, s.num_heads, s.num_layers),
            *(s.dropout, s.dropout),
            num_classes=self.train.num_classes,
        )

    def summary(self) -> list[str]:
        """Say what the data are."""
        data = self.train
        size = "x".join(map(str, data.train[0].shape[1:]))
        return [
            f"{self.settings.data}: {len(data.train[1]):,} images of {size} for training,"
            f" {len(data.val[1])} for validation, {len(data.test[1])} for the test",
            f"{data.num_classes} classes",
        ]

    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure the loss, and the share of images that are recognised."""
        val_loss = mean_loss(trainer, self.train.batches(0, 0, train=False), None)
        return {"val_loss": val_loss, "accuracy": accuracy(model, *self.train.val)}

    def test(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure the share of images of the test part that are recognised.

        Raises:
            ValueError: the run has kept none for a test.
        """
        if not len(self.train.test[1]):
            raise ValueError("test_fraction: got 0, so that there is no image to test with")
        return {"accuracy": accuracy(model, *self.train.test)}

    def score(self, measured: dict[str, Any]) -> float:
        """The share that is recognised."""
        return measured["accuracy"]

    def show(self, score: float) -> str:
        """Write the share in per cent."""
        return f"{score:.1%} right"


def accuracy(model: Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 256) -> float:
    """Return the share of images whose most likely class is the right one."""
    starts = range(0, len(labels), batch_size)
    found = [model(images[start : start + batch_size]).argmax(-1) for start in starts]
    return float(np.mean(np.concatenate(found) == labels))
