"""BERT: the lines of a text, their hidden words, and the share that is found."""

from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.data import MaskedData
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.evaluation import mean_loss
from d2l_ext.training.settings import Settings
from d2l_ext.training.tasks.base import TextsTask


class MaskedTask(TextsTask):
    """A text, the last lines of which are for validation.

    Attributes:
        train: `MaskedData`.
    """

    train: MaskedData

    def __init__(self, settings: Settings):
        super().__init__(settings)
        s = settings
        self.train = MaskedData(self.read(), s.num_steps, s.batch_size, s.val_fraction, s.min_freq)
        self.tgt_vocab = self.train.vocab

    def module(self, api: ModuleType) -> Module:
        """Build the model."""
        s = self.settings
        return api.BERTMaskLM(
            len(self.train.vocab),
            *(s.num_hiddens, s.ffn_num_hiddens, s.num_heads, s.num_layers, s.dropout),
            max_len=s.num_steps,
            activation="gelu",
            norm_embedding=True,
        )

    def summary(self) -> list[str]:
        """Say what the data are."""
        data = self.train
        cut = f" ({data.num_cut} cut to {data.num_steps} tokens)" if data.num_cut else ""
        return [
            f"{self.settings.data}: {len(data.train_lines):,} lines for training,"
            f" {len(data.val_lines):,} for validation{cut}",
            f"vocabulary of {len(data.vocab)} words",
        ]

    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure the loss, and the share of hidden words that are found."""
        batches = list(self.train.batches(0, 0, train=False))
        found = total = 0
        for *inputs, labels in batches:
            real = labels != self.train.pad
            found += int(np.sum((model(*inputs).argmax(-1) == labels) & real))
            total += int(real.sum())
        val_loss = mean_loss(trainer, batches, self.train.pad)
        return {"val_loss": val_loss, "accuracy": found / total}
