"""What is run: a family, one option, and inputs at the edges."""

import dataclasses
from typing import Any

import numpy as np

from d2l_ext import randomness
from d2l_ext.porting.audit import families

MASKS = ("none", "right padding", "left padding", "a gap", "an empty row")
HOW = ("forward", "gradient", "cache")


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration and its inputs.

    Attributes:
        family: as transformers calls it.
        settings: of the configuration, beyond the small sizes.
        batch, length: of the input.
        mask: one of `MASKS`.
        how: one of `HOW`: the gradient by the embeddings, or token by token with a cache.
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

    def inputs(self) -> dict[str, np.ndarray]:
        """Draw the inputs, by the names of transformers; images have their channels first."""
        rng = randomness.generator(0, "audit")
        if self.family in families.IMAGES:
            return {"pixel_values": self._pixels(rng, 16 if self.length == 7 else self.length)}
        if self.family == "wav2vec2":
            sound = rng.standard_normal((self.batch, 16 * self.length)).astype("float32")
            return {"input_values": sound}
        ids = rng.integers(5, 50, (self.batch, self.length)).astype("int32")
        inputs = {"input_ids": ids}
        if self.mask != "none":
            inputs["attention_mask"] = self._mask()
        if self.family in families.PAIRS:
            inputs["decoder_input_ids"] = rng.integers(5, 50, (self.batch, 5)).astype("int32")
        if self.family in families.BOTH:
            inputs["pixel_values"] = self._pixels(rng, 16)
        if self.family == "whisper":
            sound = rng.standard_normal((self.batch, 8, 32)).astype("float32")
            return {"input_features": sound, "decoder_input_ids": ids}
        return inputs

    def _pixels(self, rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.standard_normal((self.batch, 3, size, size)).astype("float32")

    def _mask(self) -> np.ndarray:
        mask = np.ones((self.batch, self.length), "int32")
        where = {
            "right padding": slice(-2, None),
            "left padding": slice(0, 2),
            "a gap": slice(2, 4),
            "an empty row": slice(None),
        }[self.mask]
        mask[-1, where] = 0
        return mask


def cases(family: str, settings: dict[str, Any]) -> list[Case]:
    """List the cases of a family whose configuration has these settings."""
    found = [Case(family)]
    long = settings.get("max_position_embeddings") or settings.get("n_positions") or 32
    if family in (*families.TEXT, *families.CAUSAL, *families.PAIRS):
        found += [Case(family, mask=mask) for mask in MASKS[1:]]
        found += [Case(family, length=length) for length in (13, long + 8)]
        found += [Case(family, batch=1, length=1)]
    elif family == "whisper":
        found += [Case(family, length=length) for length in (1, 32)]
    elif family in families.IMAGES:
        found += [Case(family, length=length) for length in (15, 20)]
    else:
        found += [Case(family, length=length) for length in (4, 13)]
    if family in families.BOTH:
        found += [Case(family, mask=mask) for mask in MASKS[1:]]
    if family not in (*families.IMAGES, *families.BOTH, "wav2vec2"):
        found += [Case(family, how="gradient")]
    if family in families.CAUSAL and family != "xlnet":
        found += [Case(family, how="cache")]
    for option in families.options(settings):
        found.append(Case(family, option))
        if "sliding_window" in option or "window_size" in option:
            found.append(Case(family, option, how="cache"))
    return found
