"""Exported translators, run by the engines they were made for: what the command checks them with.

Each has ``translate(sentences, beam)``, which returns the tokens of each sentence. Hypotheses are
compared by their log-probabilities: engines have penalties of their own for lengths.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from d2l_ext.data import BucketedData
from d2l_ext.data.sentences import cut
from d2l_ext.training.checkpoint import read_vocab
from d2l_ext.training.translation import translations

# What is in a folder of ONNX.
ENCODER, DECODER, DESCRIPTION = "encoder.onnx", "decoder.onnx", "export.json"


def method(beam: int) -> dict[str, Any]:
    """Return how `translations` is asked for what the engines do; a beam of 1 is greedy."""
    return {"method": "beam", "beam": beam, "length_penalty": 0} if beam > 1 else {}


class OnnxDecoding:
    """A batch that onnxruntime decodes, as `interface.Decoding` has it.

    Attributes:
        vocab_size: number of tokens.
        attention_weights: None; they are not in the graph.
    """

    attention_weights = None

    def __init__(self, model: "OnnxModel", state: list[np.ndarray]):
        self._model, self._state = model, state
        self.vocab_size = len(model.data.tgt_vocab)

    def step(
        self, tokens: Int[np.ndarray, " rows"], k: int = 1
    ) -> tuple[Float[np.ndarray, "rows k"], Int[np.ndarray, "rows k"]]:
        """Feed one token per row; return the k best log-probabilities of the next and their ids."""
        log_probs, new = self._model.advance(np.asarray(tokens)[:, None], self._state)
        self._state = new
        ids = np.argsort(-log_probs, axis=-1, kind="stable")[:, :k]  # of ties the lower id first
        return np.take_along_axis(log_probs, ids, axis=-1), ids

    def reorder(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Continue with these rows."""
        self._state = self._model.take_rows(self._state, rows)


class OnnxModel:
    """A folder that `onnx.write` made, run by onnxruntime.

    Attributes:
        data: the vocabularies and lengths.

    Raises:
        ImportError: onnxruntime is not installed.
        ValueError: the folder has no such model.
    """

    def __init__(self, folder: Path, threads: int = 0):
        import onnxruntime

        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        src_vocab, tgt_vocab = (read_vocab(side, content) for side in ("src_vocab", "tgt_vocab"))
        if src_vocab is None or tgt_vocab is None:
            raise ValueError(f"{folder / DESCRIPTION}: lacks a vocabulary")
        self.data = BucketedData.without_pairs(src_vocab, tgt_vocab, content["buckets"])
        self._axes, self._changed = content["state"], content["changed"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        # Any: they return arrays, and could return what no graph of ours has.
        self._encoder: Any = onnxruntime.InferenceSession(folder / ENCODER, options)
        self._decoder: Any = onnxruntime.InferenceSession(folder / DECODER, options)

    def decoding(self, src: Any, valid_lens: Any, keep_weights: bool = False) -> OnnxDecoding:
        """Encode a batch; return what decodes it."""
        if keep_weights:
            raise ValueError("keep_weights: got True, but the graph has no attention weights")
        arrays = {"src": src, "valid_lens": valid_lens}
        return OnnxDecoding(self, self._encoder.run(None, _whole(arrays)))

    def advance(
        self, tokens: Int[np.ndarray, "rows 1"], state: list[np.ndarray]
    ) -> tuple[Float[np.ndarray, "rows vocab"], list[np.ndarray]]:
        """Do a step; return log-probabilities and the new state."""
        inputs = {f"state_{i}": array for i, array in enumerate(state)}
        log_probs, *changed = self._decoder.run(None, _whole({"tokens": tokens}) | inputs)
        state = list(state)
        for i, array in zip(self._changed, changed, strict=True):
            state[i] = array
        return log_probs, state

    def take_rows(self, state: list[np.ndarray], rows: Int[np.ndarray, " rows"]) -> list:
        """Return the state of some sentences."""
        found = []
        for array, place in zip(state, self._axes, strict=True):
            if place is not None:
                axis, each = place["axis"], place["rows"]
                first = np.asarray(rows)[:, None] * each  # of a sentence's rows on that axis
                array = np.take(array, (first + np.arange(each)).ravel(), axis=axis)
            found.append(array)
        return found

    def translate(self, sentences: Sequence[str], beam: int = 1) -> list[list[str]]:
        """Translate sentences; return their tokens."""
        model: Any = self
        return [t.tokens for t in translations(model, self.data, sentences, **method(beam))]


def _whole(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, np.int64) for name, array in arrays.items()}


class CTranslate2Model:
    """A folder that `ctranslate2.write` made, run by CTranslate2.

    Args:
        folder: where it is.
        data: vocabularies and lengths of the checkpoint.

    Raises:
        ImportError: CTranslate2 is not installed.
    """

    def __init__(self, folder: Path, data: BucketedData, threads: int = 0):
        from ctranslate2 import Translator

        self.data = data
        self._translator = Translator(str(folder), device="cpu", intra_threads=threads)

    def translate(self, sentences: Sequence[str], beam: int = 1) -> list[list[str]]:
        """Translate sentences; return their tokens."""
        most = self.data.num_steps
        sources = [cut(sentence, self.data.src_vocab)[:most] for sentence in sentences]
        found = self._translator.translate_batch(
            sources, beam_size=beam, length_penalty=0, max_decoding_length=most, max_batch_size=128
        )
        return [result.hypotheses[0] for result in found]
