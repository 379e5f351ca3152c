"""Chapter 3's comparison: what attention and a bidirectional encoder add, one at a time.

``python -m tools.book seeds`` trains each model with several seeds on the same sentences and prints
the table that the chapter quotes.
"""

import numpy as np

import d2l_ext
from d2l_ext.data import TranslationData, load_pairs, preprocess, split_by_source
from d2l_ext.training import bleu, fit, translations
from tools.book.translators import is_short

SEEDS = range(3)
# What differs: (the encoder, the decoder). No dropout in any.
MODELS = {
    "one vector": ("Seq2SeqEncoder", "Seq2SeqDecoder"),
    "one vector, read in both directions": ("BidirectionalEncoder", "Seq2SeqDecoder"),
    "attention": ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder"),
    "attention, read in both directions": ("BidirectionalEncoder", "Seq2SeqAttentionDecoder"),
}


def compare(backend: str = "torch", num_epochs: int = 12) -> dict[str, list[tuple[float, int]]]:
    """Return ``{model: [(mean BLEU, sentences translated exactly) with each seed]}``."""
    pairs = [pair for pair in load_pairs("bundled") if is_short(pair[0])]
    train, rest = split_by_source(pairs, (0.9, 0.1), seed=0)
    data = TranslationData([*train[:1024], *rest[:128]], 12, 1024, 128, batch_size=64)
    return {
        name: [score(backend, classes, data, rest[:128], seed, num_epochs) for seed in SEEDS]
        for name, classes in MODELS.items()
    }


def score(backend, classes, data, pairs, seed, num_epochs):
    """Train one model and return its mean BLEU and how many of the pairs it translates exactly."""
    be = d2l_ext.backend(backend)
    encoder, decoder = (getattr(be.api, name) for name in classes)
    net = be.api.EncoderDecoder(
        encoder(len(data.src_vocab), 64, 64, 1), decoder(len(data.tgt_vocab), 64, 64, 1)
    )
    model = be.model(net, *next(data.batches(seed, 0))[:3], seed=seed)
    trainer = be.trainer(model, lr=0.01, max_norm=1.0, pad=data.pad)
    fit(trainer, data, num_epochs, seed=seed)
    found = translations(model, data, [source for source, _ in pairs])
    scores = [
        bleu(t.text, preprocess(target), k=2) for t, (_, target) in zip(found, pairs, strict=True)
    ]
    return float(np.mean(scores)), sum(score == 1 for score in scores)


def table(found: dict[str, list[tuple[float, int]]]) -> str:
    """Return what was found in Markdown: mean and range over the seeds."""
    lines = ["| | mean BLEU | from – to | translated exactly |", "|---|---|---|---|"]
    for name, runs in found.items():
        scores, exact = zip(*runs, strict=True)
        spread = f"{min(scores):.3f} – {max(scores):.3f}"
        lines.append(
            f"| {name} | {np.mean(scores):.3f} | {spread} | {', '.join(map(str, exact))} |"
        )
    return "\n".join(lines)
