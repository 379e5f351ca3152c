"""How the columns name what they share, for tests that compare them."""

import inspect

# What a framework calls when a module is called.
CALLS = {
    "torch": "forward",
    "mxnet": "forward",
    "jax": "__call__",
    "tensorflow": "call",
    "reference": "forward",
}


def parameters(function, leave_out=()):
    """Names and defaults; a framework's own arguments (of a Keras layer, say) are left out."""
    return [
        (p.name, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self", *leave_out)
        and p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
