"""Ours, in any column: greedy or beam search."""

from benchmarks.serving import model_of
from benchmarks.setting import BOS, EOS
from d2l_ext.training import decoding


def translate(framework, size):
    """Return a function that translates a batch; it returns the tokens."""
    setting, model = model_of(framework, size)
    src, _, lens, _ = setting.arrays()
    options = {"bos": BOS, "eos": EOS, "max_steps": size.num_tokens}
    if size.beam == 1:
        return lambda: decoding.greedy(model, src, lens, **options).tokens
    search = {"beam": size.beam, "length_penalty": 0}
    return lambda: decoding.beam_search(model, src, lens, **options, **search).tokens
