"""What is run: a family, one option, and inputs at the edges."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from d2l_ext import randomness
from d2l_ext.interface import Arrays
from d2l_ext.porting.audit import families

MASKS = (
    *("none", "right padding", "left padding", "a gap", "all paddings", "an empty row"),
    "decoder padding",
)
HOW = ("forward", "gradient", "cache", "logits", "loss")
TARGETS = 5  # tokens of a decoder


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration and its inputs.

    Attributes:
        family: as transformers calls it.
        settings: of the configuration, beyond the small sizes.
        batch, length: of the input.
        mask: one of `MASKS`.
        how: one of `HOW`: the gradients by the parameters, token by token with a cache, or the
            logits of the head that guesses words and their loss; "loss" lets a decoder's inputs be
            made of its labels.
    """

    family: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    batch: int = 2
    length: int = 7
    mask: str = "none"
    how: str = "forward"

    def __str__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in self.settings.items()]
        sizes = [f"{self.batch} x {self.length}"] if (self.batch, self.length) != (2, 7) else []
        kinds = [x for x in (self.mask, self.how) if x not in ("none", "forward")]
        return f"{self.family}: {', '.join([*settings, *kinds, *sizes]) or 'as it is'}"

    @property
    def has_decoder(self) -> bool:
        """Whether the model reads one text, picture or sound, and writes another text."""
        return self.family in families.DECODED

    def inputs(self) -> Arrays:
        """Draw the inputs, by the names of transformers; images have their channels first."""
        rng = randomness.generator(0, "audit")
        if self.family == "wav2vec2":
            sound = rng.standard_normal((self.batch, 16 * self.length)).astype("float32")
            return {"input_values": sound}
        inputs, ids = {}, None
        if self.family not in families.SEEING_ONLY:
            ids = rng.integers(5, 50, (self.batch, self.length)).astype("int32")
            inputs["input_ids"] = ids
        if self.has_decoder:
            targets = min(TARGETS, self.length)
            ids = rng.integers(5, 50, (self.batch, targets)).astype("int32")
            inputs["decoder_input_ids"] = ids
        if self.family in families.SEEING:
            size = self.settings.get("image_size", 16)
            if self.family in families.IMAGES and self.length != 7:
                size = self.length
            shape = self.batch, self.settings.get("num_channels", 3), size, size
            inputs["pixel_values"] = rng.standard_normal(shape).astype("float32")
        if self.family == "whisper":
            sound = rng.standard_normal((self.batch, 8, 32)).astype("float32")
            inputs = {"input_features": sound, "decoder_input_ids": inputs["input_ids"]}
            ids = inputs["decoder_input_ids"]
        if self.family == "electra" and str(self) != "electra: as it is":
            # Flax's takes 1 where none are given, which would hide the rest.
            inputs["token_type_ids"] = np.zeros_like(ids)
        is_decoded = "decoder_input_ids" in inputs
        if ids is not None and self.how == ("loss" if is_decoded else "logits"):
            inputs.pop("decoder_input_ids", None)
            inputs["labels"] = ids.copy()
            inputs["labels"][-1, -1] = -100  # left out
        return inputs | self.masks()

    def masks(self) -> Arrays:
        """Return the masks among the inputs."""
        if self.mask == "none":
            return {}
        decoder = self.mask == "decoder padding"
        length = min(TARGETS, self.length) if decoder else self.length
        mask = np.ones((self.batch, length), "int32")
        where = {
            "left padding": slice(0, 2),
            "a gap": slice(2, 4),
            "an empty row": slice(None),
        }
        kinds = ("a gap", "left padding", "") if self.mask == "all paddings" else (self.mask,)
        for row, kind in enumerate(kinds, start=1):
            mask[-row, where.get(kind, slice(-2, None))] = 0
        return {"decoder_attention_mask" if decoder else "attention_mask": mask}

    def real(self, name: str) -> np.ndarray | None:
        """Return which positions of an output hold real tokens; None where all do.

        What is pooled belongs to the first token.
        """
        decoder = self.has_decoder and not name.startswith("encoder")
        mask = self.masks().get("decoder_attention_mask" if decoder else "attention_mask")
        if mask is None or name != "pooler_output":
            return None if mask is None else mask.astype(bool)
        return (mask[:, 0] == 1) | ~mask.any(axis=1)


def cases(family: str, settings: dict[str, Any]) -> list[Case]:
    """List the cases of a family whose configuration has these settings."""
    found = [Case(family), *_edges(family, settings)]
    if family != "xlnet" and family in (*families.CAUSAL, *families.DECODED):
        found.append(Case(family, how="cache"))
    if family in families.HEADS:
        found.append(Case(family, how="logits"))
    if family in (*families.DECODED, "whisper"):
        found.append(Case(family, how="loss"))
    found.append(Case(family, how="gradient"))
    for option in families.options(family, settings):
        how = families.SHOWN_BY.get(next(iter(option)), "forward")
        found.append(Case(family, option, how=how))
        if "sliding_window" in option or "window_size" in option:
            found.append(Case(family, option, how="cache"))
    return found


def _edges(family: str, settings: dict[str, Any]) -> list[Case]:
    """List the masks and sizes of a family."""
    long = settings.get("max_position_embeddings") or settings.get("n_positions") or 32
    padded = Case(family, batch=4, length=13, mask="all paddings")
    found = [padded, Case(family, mask="an empty row")]
    if family == "vision-encoder-decoder":
        found = [Case(family, batch=1, length=1)]
    elif family in families.IMAGES:
        found = [Case(family, length=length) for length in (15, 20)]
    elif family == "whisper":
        found = [Case(family, length=length) for length in (1, 32)]
    elif family == "wav2vec2":
        found = [Case(family, length=length) for length in (4, 13)]
    elif family not in families.SEEING:
        found += [Case(family, length=long + 8), Case(family, batch=1, length=1)]
    if family in families.DECODED:
        found.append(Case(family, mask="decoder padding"))
    return found


def merged(group: Sequence[Case]) -> Case:
    """Return the case that has the settings of all of a group."""
    settings = {name: value for case in group for name, value in case.settings.items()}
    return dataclasses.replace(group[0], settings=settings)


def groups(found: Iterable[Case]) -> list[list[Case]]:
    """Put cases together that can be merged: with options of their own, and else alike."""
    together: list[list[Case]] = []
    for case in found:
        for group in together:
            like = dataclasses.replace(group[0], settings=case.settings) == case
            apart = all(one.settings.keys().isdisjoint(case.settings) for one in group)
            if like and apart and case.settings and group[0].settings:
                group.append(case)
                break
        else:
            together.append([case])
    return together
