"""Models in Hugging Face's format: read into canonical names, and written back.

A folder holds ``config.json`` and ``model.safetensors`` (or several files and their index). GPT-2,
Llama, Mistral and Mixtral are all a `GPT`, BERT is a `BERTEncoder` or, with the part that fills in
words, a `BERTMaskLM`, and ViT with a classifier is a `ViT`; `families` says which tensor is which
parameter, `layout` how a file is laid out.

GPT-2's matrices are stored transposed. Nothing else is changed, and no tensor is computed with, so
what is read and written again is the same to the bit.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.config import build
from d2l_ext.files import replacing
from d2l_ext.interface import Arrays, Backend, Model
from d2l_ext.training.checkpoint import example_inputs
from d2l_ext.training.huggingface.families import FAMILIES, Family, family
from d2l_ext.training.huggingface.layout import Tensor, formatted, read_tensors

__all__ = ["FAMILIES", "Pretrained", "read", "tensors", "write"]


@dataclasses.dataclass
class Pretrained:
    """A model of Hugging Face's, as this project has it.

    Attributes:
        config: their configuration, as `config.json` has it.
        parameters: ``{canonical name: array}``.
        dtype: of the file, as safetensors calls it: "F32", "BF16" and so on.
        others: tensors of the file that the model here has no use for, by their names.
        bare: whether names in the file lack the family's prefix, as in models without a head.
    """

    config: dict[str, Any]
    parameters: Arrays
    dtype: str = "F32"
    others: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    bare: bool = False

    @property
    def family(self) -> Family:
        """What is known of models of its kind."""
        return family(self.config, self.parameters)

    @property
    def description(self) -> dict[str, Any]:
        """The module that the parameters belong to, as `d2l_ext.config.build` takes it."""
        own = self.family
        return {"class": own.module, "config": own.options(self.config, self.parameters)}

    def build(self, backend: Backend, dtype: str = "float32") -> Model:
        """Build the model in a framework and return a `Model` with these parameters."""
        description, parameters = self.description, self.family.completed(self.parameters)
        inputs = example_inputs(description, parameters)
        model = backend.model(build(backend.api, description), *inputs, dtype=dtype)
        model.load_parameters(parameters)
        return model


def read(path: str | Path) -> Pretrained:
    """Read a model.

    Args:
        path: a folder, or a safetensors file with its ``config.json`` beside it.

    Returns:
        A `Pretrained`.

    Raises:
        ValueError: another family, an option that the module does not have, a tensor without a name
            here, or a damaged file.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    config = json.loads((folder / "config.json").read_text())
    found: dict[str, Tensor] = {}
    for file in _files(path):
        found |= read_tensors(file)
    own = family(config, found)
    others = {name: x for name, x in found.items() if own.is_other(name) or x.kind[0] not in "FB"}
    dtypes = {x.kind for name, x in found.items() if name not in others}
    if len(dtypes) != 1:
        raise ValueError(f"{path}: got tensors of dtypes {sorted(dtypes)}, must be one")
    bare = not any(name.startswith(own.prefix) for name in found)
    start = own.prefix if bare else ""
    arrays = {start + name: x.array for name, x in found.items() if name not in others}
    pretrained = Pretrained(config, own.from_theirs(arrays), dtypes.pop(), others, bare)
    pretrained.description  # noqa: B018 - raises where an option is not supported
    return pretrained


def _files(path: Path) -> list[Path]:
    """Return the safetensors files of a model."""
    if not path.is_dir():
        return [path]
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return [path / "model.safetensors"]
    names = json.loads(index.read_text())["weight_map"].values()
    return [path / name for name in sorted(set(names))]


def write(folder: str | Path, pretrained: Pretrained) -> None:
    """Write a model as `read` reads it and as transformers does.

    Args:
        folder: where to.
        pretrained: from `read`; its parameters may have been trained on.
    """
    found = {name: Tensor.of(x, pretrained.dtype) for name, x in tensors(pretrained).items()}
    with replacing(Path(folder) / "model.safetensors") as file:
        file.write(formatted(found | pretrained.others))
    with replacing(Path(folder) / "config.json") as file:
        file.write((json.dumps(pretrained.config, indent=2, sort_keys=True) + "\n").encode())


def tensors(pretrained: Pretrained) -> dict[str, np.ndarray]:
    """Return the parameters under their names there, with the shapes that they have there."""
    own = pretrained.family
    found = own.to_theirs(pretrained.parameters)
    start = len(own.prefix) if pretrained.bare else 0
    return {name[start:]: x for name, x in found.items()}
