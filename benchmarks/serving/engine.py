"""CTranslate2 with the same weights in float32; its tokens are compared with ours at first."""

import os
import tempfile
from pathlib import Path

from ctranslate2 import Translator

from benchmarks.serving import model_of, ours
from d2l_ext.config import describe
from d2l_ext.data.vocabulary import Vocab
from d2l_ext.export.ctranslate2 import write
from d2l_ext.training.checkpoint import Checkpoint


def translate(framework, size):
    """Return a function that translates a batch; it returns the tokens.

    Raises:
        RuntimeError: the engine's tokens are not the column's.
    """
    setting, model = model_of(framework, size)
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *map(str, range(4, setting.vocab_size))]
    vocab = Vocab.from_tokens_list(words)
    saved = Checkpoint(describe(model.module), model.parameters(), vocab, vocab)
    with tempfile.TemporaryDirectory() as folder:
        write(saved, Path(folder))
        translator = Translator(
            folder, device="cpu", compute_type="float32", intra_threads=_cores()
        )
    src, _, lens, _ = setting.arrays()
    sources = [vocab.to_tokens(row[:n]) for row, n in zip(src, lens, strict=True)]

    def run():
        found = translator.translate_batch(
            sources,
            beam_size=size.beam,
            length_penalty=0,
            min_decoding_length=size.num_tokens,
            max_decoding_length=size.num_tokens,
        )
        return [vocab[result.hypotheses[0]] for result in found]

    different = sum(a != b for a, b in zip(run(), ours.translate(framework, size)(), strict=True))
    if different:
        raise RuntimeError(f"{different} of {size.batch} translations differ from {framework}'s")
    return run


def _cores():
    return int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
