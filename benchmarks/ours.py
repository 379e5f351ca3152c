"""Ours, as shipped: through the common interface, with checks and with masks drawn in NumPy."""

import importlib

import d2l_ext
from benchmarks.setting import BOS, EOS, PAD
from d2l_ext.training import decoding


def model_of(framework, setting):
    """Return the backend and the model of a setting."""
    backend = d2l_ext.backend(framework)
    api = backend.api
    if setting.model == "transformer":
        args = (
            setting.vocab_size,
            setting.num_hiddens,
            setting.ffn_num_hiddens,
            setting.num_heads,
            setting.num_layers,
            setting.dropout,
        )
        parts = api.TransformerEncoder(*args), api.TransformerDecoder(*args)
    else:
        size = setting.num_hiddens
        args = setting.vocab_size, size, size, setting.num_layers, setting.dropout
        parts = api.Seq2SeqEncoder(*args), api.Seq2SeqAttentionDecoder(*args)
    *inputs, _ = setting.arrays()
    return backend, backend.model(api.EncoderDecoder(*parts), *inputs)


def wait_for(framework):
    """Return a function that waits until everything that was started is done."""
    if framework != "mxnet":
        return lambda: None
    return importlib.import_module("mxnet").npx.waitall


def step(framework, setting, **options):
    """Return a function that does one training step."""
    backend, model = model_of(framework, setting)
    trainer = backend.trainer(model, lr=0.005, max_norm=1.0, pad=PAD, **options)
    batch, wait = setting.arrays(), wait_for(framework)

    def run():
        trainer.step(batch)
        wait()

    return run


def decode(framework, setting, num_tokens):
    """Return a generator function that encodes a batch and yields after each token."""
    _, model = model_of(framework, setting)
    src, tgt, lens, _ = setting.arrays()

    def run():
        state, tokens = model.decoding(src, lens), tgt[:, 0]
        for _ in range(num_tokens):
            _, ids = state.step(tokens)
            tokens = ids[:, 0]
            yield

    return run


def greedy(framework, setting, num_tokens):
    """Return a function that translates a batch greedily."""
    _, model = model_of(framework, setting)
    src, _, lens, _ = setting.arrays()
    return lambda: decoding.greedy(model, src, lens, bos=BOS, eos=EOS, max_steps=num_tokens)


def beam(framework, setting, num_tokens, width=4):
    """Return a function that translates a batch by beam search."""
    _, model = model_of(framework, setting)
    src, _, lens, _ = setting.arrays()
    return lambda: decoding.beam_search(
        model, src, lens, bos=BOS, eos=EOS, max_steps=num_tokens, beam=width
    )
