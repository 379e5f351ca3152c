"""The random numbers of models and their training, drawn in NumPy from a seed and a name.

Frameworks have different generators, so none of them is asked: initial parameters, dropout masks
and coins are drawn here and handed over as arrays. All values are representable in float32, so that
a run in float32 and one in float64 start from the same numbers. (The order of batches is drawn in
`data`, from the seed and the epoch.)
"""

import hashlib
import math
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Bool


def generator(seed: int, *key: object) -> np.random.Generator:
    """Return a NumPy generator that depends on the seed and on every part of the key alone."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.default_rng([int(seed), *np.frombuffer(digest, dtype="<u4")])


def initial_parameters(
    shapes: Mapping[str, tuple[int, ...]], seed: int, tied: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Draw the common start of a model.

    Matrices are Xavier-uniform, U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio,
    2010); embeddings are N(0, 1), and N(0, 1 / size) where they are an output layer too, so that
    logits are not larger than 1 at first; biases and the token of a class are zero; scales of layer
    norms are one. Of a convolution (num_outputs, num_inputs, height, width), each pixel counts as
    an input.

    Args:
        shapes: ``{canonical name: shape}``.
        seed: an integer; each array depends on it and on its own name only.
        tied: names of the embeddings that are output layers too.

    Returns:
        ``{canonical name: float32 array}``.
    """
    found = {name: _initial(name, tuple(shape), seed) for name, shape in shapes.items()}
    return found | {name: found[name] / np.float32(math.sqrt(shapes[name][1])) for name in tied}


def _initial(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    owner, _, leaf = name.rpartition(".")
    if leaf.startswith("bias") or leaf == "cls_token":
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    rng = generator(seed, "parameter", name)
    if leaf.endswith("embedding") or owner.rpartition(".")[2].endswith("embedding"):
        return rng.standard_normal(shape).astype(np.float32)
    bound = math.sqrt(6 / (shape[0] + math.prod(shape[1:])))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def dropout_masks(
    layers: Mapping[str, tuple[float, tuple[int, ...]]], seed: int, step: int
) -> dict[str, np.ndarray]:
    """Draw the masks of one training step.

    Args:
        layers: ``{canonical path of a Dropout layer: (rate, shape)}``; the shape has time as an
            axis where the layer acts inside a loop.
        seed: the run's seed.
        step: the number of the training step, from 0.

    Returns:
        ``{path: float32 array}`` with 0 where a unit is dropped and 1 / (1 - rate) where it is
        kept, so that the expectation of ``X * mask`` is X.
    """
    return {
        path: (generator(seed, "dropout", step, path).random(shape, np.float32) >= rate)
        * np.float32(1 / (1 - rate))
        for path, (rate, shape) in layers.items()
    }


def teacher_coins(
    num_steps: int, ratio: float, seed: int, step: int
) -> Bool[np.ndarray, " num_steps"]:
    """Flip the coins of one training step: True means that the true token is fed.

    Args:
        num_steps: length of the target sequences.
        ratio: probability of True, from 0 (the model's own tokens) to 1 (teacher forcing).
        seed: the run's seed.
        step: the number of the training step.

    Returns:
        A boolean array (num_steps,); the first entry is True, since `<bos>` is always given.
    """
    coins = generator(seed, "teacher forcing", step).random(num_steps) < ratio
    coins[:1] = True
    return coins
