"""D2L's own code, run by D2L's own trainer.

What is in the package `d2l` 1.0.3 is taken from there: encoders, attention, data types, loss,
trainer. Its attention decoders are in the book's text only; they stand in this folder, a file per
framework, as the book has them (without notebooks' output and, in JAX, with the module's own fields
in place of a notebook's globals, or they would not run).

From *Dive into Deep Learning* 1.0 (https://d2l.ai) by Aston Zhang, Zachary C. Lipton, Mu Li and
Alexander J. Smola, sections "The Bahdanau Attention Mechanism" and "The Transformer Architecture".
The book's text is under CC BY-SA 4.0, its sample code under a modified MIT licence (MIT-0).
"""

import importlib
import importlib.util
import itertools
import sys
import types
import warnings

# d2l imports these at its top and uses them in other chapters only.
UNUSED = (
    "IPython",
    "IPython.display",
    "matplotlib_inline",
    "matplotlib_inline.backend_inline",
    "pandas",
    "requests",
    "tensorflow_datasets",
    "torchvision",
    "torchvision.transforms",
)


def load(framework):
    """Import `d2l.torch` (or another), with empty modules in place of absent ones it won't use."""
    if framework == "mxnet":
        _import_mxnet()
    for name in UNUSED:
        if not _is_there(name):
            sys.modules[name] = types.ModuleType(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
    return importlib.import_module(f"d2l.{framework}")


def _import_mxnet():
    """Import MXNet with what it needs of NumPy, without the column, which makes it faster too."""
    (package,) = importlib.util.find_spec("d2l_ext").submodule_search_locations
    spec = importlib.util.spec_from_file_location("numpy2", f"{package}/mxnet/numpy2.py")
    numpy2 = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(numpy2)
    with warnings.catch_warnings(), numpy2.at_hand():
        warnings.simplefilter("ignore", DeprecationWarning)  # of distutils, and of NumPy's own
        importlib.import_module("mxnet")


def _is_there(name):
    """Return whether a module, or the package that it belongs to, is installed."""
    top = name.partition(".")[0]
    if top in sys.modules:
        return hasattr(sys.modules[top], "__file__")  # an empty one has none
    return importlib.util.find_spec(top) is not None


class _Data:
    """One batch as D2L's data module."""

    def __init__(self, batch):
        self.batch = batch

    def train_dataloader(self):
        return [self.batch]

    def val_dataloader(self):
        return None


def _text(framework):
    return importlib.import_module(f"{__name__}.{framework}")


def _fitted(framework, setting):
    """Return the text's module, the model and its trainer, ready for `fit_epoch`."""
    text = _text(framework)
    model = text.model(setting)
    model.board.display = False
    trainer = text.d2l.Trainer(max_epochs=0, gradient_clip_val=1)
    trainer.fit(model, _Data(tuple(map(text.array, setting.arrays()))))
    return text, model, trainer


def step(framework, setting):
    """Return a function that does one training step: an epoch of one batch."""
    text, _, trainer = _fitted(framework, setting)

    def run():
        trainer.fit_epoch()
        text.wait(trainer)

    return run


def decode(framework, setting, num_tokens):
    """Return a generator function that encodes a batch and yields after each token.

    It does what `predict_step` does.
    """
    text, model, trainer = _fitted(framework, setting)
    src, tgt, lens, _ = map(text.array, setting.arrays())
    start, advance = text.predictor(model, trainer)

    def run():
        tokens, state = tgt[:, :1], start(src, lens)
        for _ in range(num_tokens):
            tokens, state = advance(tokens, state)
            yield

    return run


def greedy(framework, setting, num_tokens):
    """Return a function that translates a batch; D2L never stops early."""
    run = decode(framework, setting, num_tokens)
    return lambda: next(itertools.islice(run(), num_tokens - 1, None))
