"""The table in which the frameworks stand side by side, from what each was measured to do.

``python -m tools.book contrasts`` measures all four and keeps what it found in
``chapters/contrasts.json``, from which every notebook and the page have the whole table, also where
only one framework is installed. A test measures each framework again.
"""

import json

from d2l_ext.agreement.running.differences import DEFAULTS
from d2l_ext.interface import COLUMNS
from tools.book.labels import CHAPTERS

KEPT = CHAPTERS / "contrasts.json"
HERE = "{contrasts}"  # what the table replaces in a chapter
TITLES = {"torch": "PyTorch", "mxnet": "MXNet", "jax": "Flax, Optax", "tensorflow": "Keras"}
# The chapter that shows it.
SHOWN = {
    "layer norm, epsilon": "07-transformer",
    "layer norm, error at mean 1e4 in float32": "07-transformer",
    "GELU(1)": "07-transformer",
    "softmax of a row of -inf": "01-masked-softmax",
    "cross-entropy, reduction": "10-language-model",
    "Adam, first step at g = 1e-6, lr = 0.005": "03-sequence-to-sequence",
    "clipped to norm 1, what is missing": "04-bahdanau",
    "GRU, order of the gates": "03-sequence-to-sequence",
    "GRU, biases per unit": "03-sequence-to-sequence",
    "LSTM, initial bias of the forget gate": "03-sequence-to-sequence",
    "dense layer, weight": "02-attention-scoring",
    "dense layer 300 to 200, std of the start": "02-attention-scoring",
    "dense layer, std of the bias": "02-attention-scoring",
    "embedding 5000 x 64, std of the start": "02-attention-scoring",
    "token id beyond the vocabulary": "03-sequence-to-sequence",
    "RMSNorm, epsilon": "09-todays-block",
    "True in a mask, attention layer": "05-multihead-attention",
    "True in a mask, fused attention": "05-multihead-attention",
    "heads, in fused attention": "12-without-the-matrix",
    "an image's channels": "14-images",
    "a convolution at the edge": "14-images",
    "writing into an array": "11-caches",
}


def kept() -> dict[str, dict]:
    """Return ``{backend: {default: number or word}}`` as it was measured last."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def table(found: dict[str, dict]) -> str:
    """Return the table in Markdown: a row for each default, a column for each framework."""
    lines = [f"| | {' | '.join(TITLES.values())} | chapter |", "|---|---|---|---|---|---|"]
    for default in DEFAULTS:
        values = " | ".join(shown(found[backend][default.name]) for backend in COLUMNS)
        chapter = SHOWN[default.name]
        lines.append(f"| {default.name} | {values} | [{int(chapter[:2])}]({chapter}.md) |")
    return "\n".join(lines)


def shown(value: float | str) -> str:
    """Return a value as the table and the cell below it have it."""
    return value if isinstance(value, str) else f"{value:.4g}"
