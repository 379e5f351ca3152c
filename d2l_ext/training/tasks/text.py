"""A language model: a text, its next tokens, and perplexity."""

from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.data import LanguageData
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.evaluation import mean_loss
from d2l_ext.training.settings import Settings
from d2l_ext.training.tasks.base import TextsTask


class TextTask(TextsTask):
    """A text, the end of which is for validation.

    Attributes:
        train: `LanguageData`.
    """

    train: LanguageData

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.train = LanguageData(
            self.read(),
            settings.num_steps,
            settings.batch_size,
            settings.level,
            settings.val_fraction,
            settings.min_freq if settings.level == "word" else 0,
        )
        self.tgt_vocab = self.train.vocab

    def module(self, api: ModuleType) -> Module:
        """Build the model."""
        s = self.settings
        return api.GPT(
            len(self.tgt_vocab),
            *(s.num_hiddens, s.ffn_num_hiddens, s.num_heads, s.num_kv_heads, s.num_layers),
            dropout=s.dropout,
            position=s.position,
            norm=s.norm,
            activation=s.activation,
            window=s.window or None,
            num_experts=s.num_experts,
            max_len=max(1024, s.num_steps),
        )

    def summary(self) -> list[str]:
        """Say what the data are."""
        data = self.train
        return [
            f"{self.settings.data}: {len(data.train_tokens):,} {data.level}s for training,"
            f" {len(data.val_tokens):,} for validation",
            f"vocabulary of {len(self.tgt_vocab)} {data.level}s",
        ]

    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure loss and perplexity, exp(loss)."""
        val_loss = mean_loss(trainer, self.train.batches(0, 0, train=False), None)
        return {"val_loss": val_loss, "perplexity": float(np.exp(val_loss))}
