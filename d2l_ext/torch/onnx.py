"""A translator as two ONNX graphs: what is done once for a sentence, and a step of the decoder.

    encoder.onnx    src (batch, num_steps), valid_lens (batch) -> the state that decoding starts
                    from
    decoder.onnx    tokens (batch, 1), the state -> log_probs (batch, vocab_size), and what is new
                    in the state

In this column alone: whatever framework has trained, its checkpoint is built in PyTorch, whose
exporter writes ONNX.

The state is the decoder's own, with caches of keys and values, as a flat list of arrays;
export.json says which axis has the sentences. A recurrent encoder's graph has one length, that of
the longest sentence in training, to which sources are padded; a Transformer's takes any.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2l_ext.data import BucketedData
from d2l_ext.export.engines import DECODER, DESCRIPTION, ENCODER
from d2l_ext.interface import Model
from d2l_ext.nested import leaves, nest
from d2l_ext.torch.layers import Array
from d2l_ext.torch.seq2seq import Decoder, EncoderDecoder
from d2l_ext.torch.transformer import TransformerDecoder, TransformerEncoder
from d2l_ext.training.checkpoint import written

FORMAT = 1


class Start(nn.Module):
    """What is done once for each sentence: ids and lengths to the state, as a list of arrays."""

    def __init__(self, module: EncoderDecoder):
        super().__init__()
        self.encoder, self.decoder = module.encoder, module.decoder

    def state(self, src: Array, valid_lens: Array) -> list:
        """Return the decoder's state; of a Transformer with caches that hold no step yet."""
        state = self.decoder.init_state(self.encoder(src, valid_lens), valid_lens)
        if isinstance(self.decoder, TransformerDecoder):
            enc_outputs, lens, _, projected, position = state
            empty = [(keys[:, :0], values[:, :0]) for keys, values, _ in projected]
            state = [enc_outputs, lens, empty, projected, position]
        return state

    def forward(self, src: Array, valid_lens: Array) -> list[Array]:
        """Return the state's arrays."""
        return leaves(self.state(src, valid_lens))


class Step(nn.Module):
    """A step of the decoder: tokens and the state's arrays to log-probabilities and new arrays.

    Args:
        decoder: a `Decoder`.
        state: one of its own, whose structure is kept.
        changed: numbers of the arrays that a step changes; None returns all.
    """

    def __init__(self, decoder: Decoder, state: list, changed: list[int] | None = None):
        super().__init__()
        self.decoder, self.structure, self.changed = decoder, state, changed

    def forward(self, tokens: Array, arrays: list[Array]) -> tuple[Array, list[Array]]:
        """Return (batch, vocab_size), and the arrays."""
        rest = iter(arrays)
        state = nest(lambda _: next(rest), self.structure)
        logits, state = self.decoder(tokens, state)
        new = leaves(state)
        if self.changed is not None:
            new = [new[i] for i in self.changed]
        return logits[:, -1].log_softmax(dim=-1), new


def write(model: Model, data: BucketedData, folder: Path) -> None:
    """Write the graphs and their description into a folder.

    Args:
        model: an `EncoderDecoder` in PyTorch.
        data: the vocabularies, and the lengths that sources are padded to.
        folder: one that is there.

    Raises:
        ImportError: onnx or onnxscript is not installed.
    """
    model.prepare(training=False, masks=None, keep_weights=False)
    module = model.module.eval()
    any_length = isinstance(module.encoder, TransformerEncoder)
    num_steps = data.num_steps
    one, other = (
        _example(module, batch, steps if any_length else num_steps, past)
        for batch, steps, past in ((3, 5, 2), (4, 7, 3))
    )
    start, step = Start(module), Step(module.decoder, one["structure"], one["changed"])
    names = [f"state_{i}" for i in range(len(one["state"]))]
    _export(
        start,
        (one["src"], one["valid_lens"]),
        (_free(one["src"], other["src"]), _free(one["valid_lens"], other["valid_lens"])),
        ["src", "valid_lens"],
        names,
        folder / ENCODER,
    )
    free = [_free(x, y) for x, y in zip(one["state"], other["state"], strict=True)]
    _export(
        step,
        (one["tokens"], one["state"]),
        (_free(one["tokens"], other["tokens"]), free),
        ["tokens", *names],
        ["log_probs", *(f"new_state_{i}" for i in one["changed"])],
        folder / DECODER,
    )
    description = {
        "format": FORMAT,
        "buckets": list(data.buckets) if any_length else [num_steps],
        "state": [_axis_of(x, y) for x, y in zip(one["state"], other["state"], strict=True)],
        "changed": one["changed"],
        "src_vocab": written(data.src_vocab),
        "tgt_vocab": written(data.tgt_vocab),
    }
    text = json.dumps(description, ensure_ascii=False, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _example(module: EncoderDecoder, batch: int, num_steps: int, past: int) -> dict[str, Any]:
    """Decode some steps of a batch; return the arrays before and what the last step changed."""
    src, tokens = (torch.ones(batch, n, dtype=torch.int64) for n in (num_steps, 1))
    valid_lens, start = torch.full((batch,), num_steps - 1), Start(module)
    with torch.no_grad():
        structure, state = start.state(src, valid_lens), start(src, valid_lens)
        step = Step(module.decoder, structure)
        for _ in range(past):
            _, state = step(tokens, state)
        _, new = step(tokens, state)
    changed = [i for i, (x, y) in enumerate(zip(state, new, strict=True)) if x is not y]
    return {
        "src": src,
        "valid_lens": valid_lens,
        "tokens": tokens,
        "structure": structure,
        "state": state,
        "changed": changed,
    }


def _free(one: Array, other: Array) -> dict[int, Any]:
    """Return the axes on which two examples of an array differ, as torch.export wants them."""
    sizes = enumerate(zip(one.shape, other.shape, strict=True))
    return {axis: torch.export.Dim.AUTO for axis, (m, n) in sizes if m != n}


def _axis_of(one: Array, other: Array) -> dict[str, int] | None:
    """Return which axis has the sentences, 3 and 4 of them, and how many rows each of them has."""
    for axis, (m, n) in enumerate(zip(one.shape, other.shape, strict=True)):
        if m % 3 == 0 and n == m // 3 * 4:
            return {"axis": axis, "rows": m // 3}
    return None


def _export(
    module: nn.Module,
    example: tuple,
    free: tuple,
    inputs: list[str],
    outputs: list[str],
    path: Path,
) -> None:
    with _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=free,
            input_names=inputs,
            output_names=outputs,
            verbose=False,
        )
    assert program is not None
    program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of itself."""
    levels = {log: log.level for log in map(logging.getLogger, ("torch.onnx", "onnx_ir"))}
    for log in levels:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)
