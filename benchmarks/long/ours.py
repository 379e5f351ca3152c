"""Ours, in any column."""

import importlib

import d2l_ext
from benchmarks.long import arrays
from benchmarks.ours import wait_for


def _done(framework, call):
    """Return a function that calls and waits for the result."""
    if framework == "jax":
        return lambda: call().block_until_ready()
    wait = wait_for(framework)

    def run():
        call()
        wait()

    return run


def _call(framework, function):
    """Compile where the framework does by habit; no gradients are kept."""
    if framework == "jax":
        return importlib.import_module("jax").jit(function)
    if framework == "tensorflow":
        return importlib.import_module("tensorflow").function(function)
    if framework == "torch":
        return importlib.import_module("torch").inference_mode()(function)
    return function


def blockwise(framework, size):
    """Return a function that attends in blocks of 512 keys."""
    backend = d2l_ext.backend(framework)
    given = backend.array(arrays(size))
    call = _call(
        framework, lambda *a: backend.api.blockwise_attention(*a, causal=True, block_size=512)
    )
    return _done(framework, lambda: call(*given))


def full(framework, size):
    """Return a function that makes the whole matrix of weights."""
    backend = d2l_ext.backend(framework)
    given = backend.array(arrays(size))
    mask = backend.api.causal_mask(size.num_steps)
    call = _call(framework, lambda *a: backend.api.attention(*a)[0])
    return _done(framework, lambda: call(*given, mask))
