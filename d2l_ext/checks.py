"""Checks of arguments and their messages, the same in every framework.

A column describes an array to these functions as a `Spec`: its shape, the name of its dtype and,
in eager code, a function that returns its values as NumPy. In traced code there are no values, and
only shapes and dtypes are checked. Every failure is a ValueError that names the argument, what it
was and what it may be.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Spec(NamedTuple):
    """What a check may know of an array; ``values`` is None where the code is being traced."""

    shape: tuple[int, ...]
    dtype: str
    values: Callable[[], np.ndarray] | None = None


def rank(name: str, x: Spec, axes: tuple[str, ...]) -> None:
    """Check that an array has one axis per name in ``axes``."""
    if len(x.shape) != len(axes):
        raise ValueError(f"{name}: got shape {_show(x.shape)}, must be ({', '.join(axes)})")


def attention_inputs(queries: Spec, keys: Spec, values: Spec, same_size: bool = False) -> None:
    """Check the three inputs of attention pooling.

    Args:
        queries: (batch, num_queries, query_size).
        keys: (batch, num_keys, key_size).
        values: (batch, num_keys, value_size).
        same_size: whether queries and keys must be vectors of one size.
    """
    rank("queries", queries, ("batch", "num_queries", "query_size"))
    rank("keys", keys, ("batch", "num_keys", "key_size"))
    rank("values", values, ("batch", "num_keys", "value_size"))
    for name, x in (("queries", queries), ("keys", keys), ("values", values)):
        floating(name, x)
    if keys.shape[0] != queries.shape[0]:
        raise ValueError(
            f"keys: got batch size {keys.shape[0]}, must be that of queries, {queries.shape[0]}"
        )
    if values.shape[:2] != keys.shape[:2]:
        raise ValueError(
            f"values: got shape {_show(values.shape)}, must start with that of keys,"
            f" {_show(keys.shape[:2])}"
        )
    if same_size and queries.shape[2] != keys.shape[2]:
        raise ValueError(
            f"keys: got vectors of size {keys.shape[2]}, must be that of queries,"
            f" {queries.shape[2]}"
        )


def floating(name: str, x: Spec) -> None:
    """Check that an array holds real numbers (complex ones occur in the reference only)."""
    if not x.dtype.startswith(("float", "bfloat", "complex")):
        raise ValueError(f"{name}: got dtype {x.dtype}, must be a floating dtype")


def lengths(name: str, lens: Spec, limit: int, *shapes: tuple[int, ...]) -> None:
    """Check valid lengths.

    Args:
        name: the argument's name.
        lens: the lengths.
        limit: the largest length that may occur.
        *shapes: the shapes that ``lens`` may have.
    """
    if lens.shape not in shapes:
        allowed = " or ".join(_show(shape) for shape in shapes)
        raise ValueError(f"{name}: got shape {_show(lens.shape)}, must be {allowed}")
    if not lens.dtype.startswith(("int", "uint", "float", "bfloat")):
        raise ValueError(f"{name}: got dtype {lens.dtype}, must be an integer dtype")
    if lens.values is None:
        return
    found = np.asarray(lens.values(), np.float64)
    for bad, allowed in (
        (~np.isfinite(found) | (found != np.round(found)), "a whole number"),
        ((found < 0) | (found > limit), f"between 0 and {limit}"),
    ):
        if bad.any():
            raise ValueError(f"{name}: got {found[bad][0]:g}, must be {allowed}")


def _mask(x: Spec, shape: tuple[int, ...]) -> None:
    """Check that a mask is boolean and broadcasts to the scores' shape."""
    if x.dtype != "bool":
        raise ValueError(f"mask: got dtype {x.dtype}, must be bool (True means attend)")
    _broadcasts("mask", x, shape)


def _broadcasts(name: str, x: Spec, shape: tuple[int, ...]) -> None:
    """Check that an array broadcasts to a shape."""
    fits = len(x.shape) <= len(shape) and all(
        have in (1, want) for have, want in zip(reversed(x.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(f"{name}: got shape {_show(x.shape)}, must broadcast to {_show(shape)}")


def masks(shape: tuple[int, ...], valid_lens: Spec | None = None, mask: Spec | None = None) -> None:
    """Check valid lengths and a mask, either of which may be None, for scores of a shape."""
    if valid_lens is not None:
        if len(shape) != 3:
            raise ValueError(
                "valid_lens: need scores (batch, num_queries, num_keys),"
                f" got scores of shape {_show(shape)}"
            )
        lengths("valid_lens", valid_lens, shape[-1], shape[:1], shape[:2])
    if mask is not None:
        _mask(mask, shape)


def tokens(
    name: str,
    x: Spec,
    vocab_size: int | None = None,
    axes: tuple[str, ...] = ("batch", "num_steps"),
    what: str = "token",
) -> None:
    """Check ids, by default of tokens (batch, num_steps), each below the vocabulary's size."""
    rank(name, x, axes)
    if not x.dtype.startswith(("int", "uint")):
        raise ValueError(f"{name}: got dtype {x.dtype}, must be an integer dtype")
    if x.values is None or vocab_size is None or 0 in x.shape:
        return
    ids = x.values()
    for extreme in (ids.min(), ids.max()):
        if not 0 <= extreme < vocab_size:
            raise ValueError(
                f"{name}: got {what} {extreme}, must be between 0 and {vocab_size - 1}"
            )


def chosen(probabilities: Spec, chosen: Spec) -> None:
    """Check which experts are chosen (..., k), beside their probabilities (..., num_experts)."""
    *batch, num_experts = probabilities.shape
    if chosen.shape[:-1] != (*batch,):
        raise ValueError(
            f"chosen: got shape {_show(chosen.shape)}, must be {_show((*batch, 'k'))}, as the"
            " probabilities"
        )
    tokens("chosen", chosen, num_experts, axes=("",) * len(chosen.shape), what="expert")


def recurrent_inputs(
    inputs: Spec,
    states: Sequence[Spec],
    valid_lens: Spec | None,
    num_inputs: int,
    num_hiddens: int,
    num_layers: int,
    dropout: float = 0,
) -> None:
    """Check the inputs of a `GRU` or `LSTM`.

    Args:
        inputs: (num_steps, batch, num_inputs).
        states: a list of (num_layers, batch, num_hiddens): none, H, or H and C.
        valid_lens: (batch,) or None.
        num_inputs, num_hiddens, num_layers, dropout: the module's configuration.
    """
    rank("inputs", inputs, ("num_steps", "batch", "num_inputs"))
    floating("inputs", inputs)
    _size("inputs", inputs, 2, num_inputs)
    num_steps, batch = inputs.shape[:2]
    for state in states:
        if state.shape != (num_layers, batch, num_hiddens):
            wanted = _show((num_layers, batch, num_hiddens))
            raise ValueError(f"H_c: got shape {_show(state.shape)}, must be {wanted}")
    if valid_lens is not None:
        lengths("valid_lens", valid_lens, num_steps, (batch,))


def loss_inputs(Y_hat: Spec, Y: Spec) -> None:
    """Check logits (batch, num_steps, vocab_size) and labels (batch, num_steps).

    Where each example has one label, both are without num_steps.
    """
    axes = ("batch", "num_steps", "vocab_size")
    if len(Y_hat.shape) == 2:
        axes = ("batch", "vocab_size")
    rank("Y_hat", Y_hat, axes)
    floating("Y_hat", Y_hat)
    tokens("Y", Y, Y_hat.shape[-1], axes[:-1], "token" if len(axes) == 3 else "class")
    if Y.shape != Y_hat.shape[:-1]:
        raise ValueError(f"Y: got shape {_show(Y.shape)}, must be {_show(Y_hat.shape[:-1])}")


def labels(Y: Spec, config: Mapping[str, Any]) -> None:
    """Check the labels of a model: one for each image, or one for each step.

    A layer that is trained by itself has as many classes as hidden units.
    """
    if "num_classes" in config:
        tokens("Y", Y, config["num_classes"], ("batch",))
    else:
        tokens("Y", Y, config["vocab_size"] if "vocab_size" in config else config["num_hiddens"])


def positions(X: Spec, offset: int | None, num_hiddens: int, dropout: float, max_len: int) -> None:
    """Check the input (batch, num_steps, num_hiddens) of a positional encoding.

    Args:
        X: the input.
        offset: position of the first step, or None where it is not known while tracing.
        num_hiddens, dropout, max_len: the module's configuration.
    """
    sequence(X, num_hiddens)
    steps(X, offset, max_len)


def steps(X: Spec, offset: int | None, max_len: int) -> None:
    """Check that steps (batch, num_steps, ...) from a position, None if unknown, have a place."""
    if offset is not None and not 0 <= offset <= max_len - X.shape[1]:
        raise ValueError(
            f"X: got {X.shape[1]} steps from position {offset},"
            f" must lie between 0 and max_len={max_len}"
        )


def room(size: int, wanted: int) -> None:
    """Check that a cache has the room that a call needs, where no call can enlarge it."""
    if size < wanted:
        raise ValueError(f"state: got room for {size} steps, must be reserved for {wanted}")


def sequence(X: Spec, num_hiddens: int) -> None:
    """Check vectors (batch, num_steps, num_hiddens)."""
    rank("X", X, ("batch", "num_steps", "num_hiddens"))
    floating("X", X)
    _size("X", X, 2, num_hiddens)


def rotary_inputs(X: Spec, positions: Spec, layout: str) -> None:
    """Check vectors (..., num_steps, size), size even, and their positions, which broadcast."""
    if len(X.shape) < 2:
        raise ValueError(f"X: got shape {_show(X.shape)}, must be (..., num_steps, size)")
    floating("X", X)
    multiple("size", X.shape[-1], 2)
    choice("layout", layout, ("halves", "pairs"))
    if not positions.dtype.startswith(("int", "uint")):
        raise ValueError(f"positions: got dtype {positions.dtype}, must be an integer dtype")
    _broadcasts("positions", positions, X.shape[:-1])


def _size(name: str, x: Spec, axis: int, wanted: int) -> None:
    """Check the size of one axis."""
    if x.shape[axis] != wanted:
        raise ValueError(
            f"{name}: got shape {_show(x.shape)}, must have size {wanted} on axis {axis}"
        )


def sequence_mask_inputs(X: Spec, valid_lens: Spec) -> None:
    """Check sequences (batch, num_steps, ...) and their lengths (batch,)."""
    if len(X.shape) < 2:
        raise ValueError(f"X: got shape {_show(X.shape)}, must be (batch, num_steps, ...)")
    lengths("valid_lens", valid_lens, X.shape[1], X.shape[:1])


def encoder_inputs(X: Spec, valid_lens: Spec | None, vocab_size: int) -> None:
    """Check source ids (batch, num_steps) and their lengths (batch,), which may be None."""
    tokens("X", X, vocab_size)
    if valid_lens is not None:
        lengths("valid_lens", valid_lens, X.shape[1], X.shape[:1])


def bert_inputs(
    ids: Spec, segments: Spec | None, valid_lens: Spec | None, vocab_size: int, max_len: int
) -> None:
    """Check ids (batch, num_steps), which segment each belongs to, and lengths (batch,)."""
    tokens("tokens", ids, vocab_size)
    if ids.shape[1] > max_len:
        raise ValueError(f"tokens: got {ids.shape[1]} steps, must be at most max_len={max_len}")
    if segments is not None:
        tokens("segments", segments, 2)
        if segments.shape != ids.shape:
            raise ValueError(
                f"segments: got shape {_show(segments.shape)}, must be that of tokens,"
                f" {_show(ids.shape)}"
            )
    if valid_lens is not None:
        lengths("valid_lens", valid_lens, ids.shape[1], ids.shape[:1])


def predictions(X: Spec, positions: Spec) -> None:
    """Check vectors (batch, num_steps, size) and positions among the steps (batch, num_preds)."""
    rank("X", X, ("batch", "num_steps", "size"))
    floating("X", X)
    places(positions, *X.shape[:2])


def places(positions: Spec, batch: int, num_steps: int) -> None:
    """Check positions (batch, num_preds) among the steps of a batch."""
    tokens("pred_positions", positions, num_steps, ("batch", "num_preds"), "position")
    if positions.shape[0] != batch:
        raise ValueError(
            f"pred_positions: got batch size {positions.shape[0]}, must be that of the tokens,"
            f" {batch}"
        )


def patches(
    img_size: int | tuple[int, int], patch_size: int | tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Check that patches fill an image; return both sizes as pairs, (height, width)."""
    image, patch = _pair("img_size", img_size), _pair("patch_size", patch_size)
    for whole, part in zip(image, patch, strict=True):
        multiple("img_size", whole, part)
    return image, patch


def _pair(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2:
        raise ValueError(f"{name}: got {_show(pair)}, must be a number or a pair")
    return int(pair[0]), int(pair[1])


def images(X: Spec, img_size: tuple[int, int]) -> None:
    """Check images (batch, channels, height, width)."""
    rank("X", X, ("batch", "channels", "height", "width"))
    floating("X", X)
    for axis, size in zip((2, 3), img_size, strict=True):
        _size("X", X, axis, size)


def encoder_decoder_inputs(enc_X: Spec, dec_X: Spec, teacher_forcing: Spec | None) -> None:
    """Check what an encoder and a decoder must agree on."""
    if dec_X.shape[0] != enc_X.shape[0]:
        raise ValueError(
            f"dec_X: got batch size {dec_X.shape[0]}, must be that of enc_X, {enc_X.shape[0]}"
        )
    if teacher_forcing is not None and teacher_forcing.shape != dec_X.shape[1:2]:
        raise ValueError(
            f"teacher_forcing: got shape {_show(teacher_forcing.shape)},"
            f" must be {_show(dec_X.shape[1:2])}"
        )


def decoder_inputs(X: Spec, enc_outputs_batch: int, vocab_size: int) -> None:
    """Check target ids (batch, num_steps) against the batch size of the decoder's state."""
    tokens("X", X, vocab_size)
    if X.shape[0] != enc_outputs_batch:
        raise ValueError(
            f"X: got batch size {X.shape[0]}, must be that of the state, {enc_outputs_batch}"
        )


def choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Check that a value is one of a few."""
    if value not in allowed:
        raise ValueError(f"{name}: got {value!r}, must be one of {', '.join(map(repr, allowed))}")


def positive(name: str, value: float) -> None:
    """Check that a number is positive."""
    if not value > 0:
        raise ValueError(f"{name}: got {value}, must be positive")


def share(name: str, value: float) -> None:
    """Check a share that leaves something on both sides."""
    if not 0 < value < 1:
        raise ValueError(f"{name}: got {value}, must be between 0 and 1")


def rate(dropout: float) -> None:
    """Check a dropout rate."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: got {dropout}, must be at least 0 and less than 1")


def multiple(name: str, value: int, of: int) -> None:
    """Check that a size is a positive multiple of another."""
    if value < 1 or of < 1 or value % of:
        raise ValueError(f"{name}: got {value}, must be a positive multiple of {of}")


def heads(num_hiddens: int, num_heads: int, num_kv_heads: int, position: str | None) -> None:
    """Check that heads divide the size, key heads the heads, and that a head can be rotated."""
    multiple("num_hiddens", num_hiddens, num_heads)
    multiple("num_heads", num_heads, num_kv_heads)
    choice("position", position, ("rotary", "alibi", "learned", None))
    if position == "rotary":
        multiple("num_hiddens / num_heads", num_hiddens // num_heads, 2)


def window(window: int | None, num_sinks: int) -> None:
    """Check how many steps a query sees, None for all, and how many first ones it sees besides."""
    if window is not None:
        positive("window", window)
    if num_sinks < 0:
        raise ValueError(f"num_sinks: got {num_sinks}, must not be negative")


def experts(num_experts: int, k: int) -> None:
    """Check how many of the experts are asked."""
    if not 1 <= k <= num_experts:
        raise ValueError(f"k: got {k}, must be between 1 and num_experts={num_experts}")


def _show(shape: Sequence[object]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
