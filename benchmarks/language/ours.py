"""Ours, as shipped: `GPT` with its default options, which make Llama, in any column."""

import d2l_ext
from benchmarks.ours import wait_for
from d2l_ext.training.generation import generate as go_on


def _model(framework, size):
    backend = d2l_ext.backend(framework)
    sizes = size.vocab_size, size.num_hiddens, size.ffn_num_hiddens, size.num_heads
    module = backend.api.GPT(*sizes, size.num_kv_heads, size.num_blks)
    return backend, backend.model(module, size.tokens()[0])


def step(framework, size):
    """Return a function that does one training step."""
    backend, model = _model(framework, size)
    trainer = backend.trainer(model, lr=0.001, max_norm=1.0)
    batch, wait = size.tokens(), wait_for(framework)

    def run():
        trainer.step(batch)
        wait()

    return run


def generate(framework, size):
    """Return a function that goes on with a batch of prompts, always by the most likely token."""
    _, model = _model(framework, size)
    return lambda: go_on(model, size.prompts(), size.num_tokens)
