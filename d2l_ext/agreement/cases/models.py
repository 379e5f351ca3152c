"""Every model of the book, small, to be trained by all frameworks: `compare --train all`."""

from typing import Any

import numpy as np

from d2l_ext import reference
from d2l_ext.agreement.cases.plans import Plan, ReaderPlan, TextPlan, TranslationPlan
from d2l_ext.config import describe
from d2l_ext.data import (
    ImageData,
    LanguageData,
    MaskedData,
    TranslationData,
    load_images,
    load_pairs,
    load_text,
)

RATE = 0.1  # of dropout, in the half of the plans that has it
STEPS = 100
TRAINING: dict[str, Any] = {"lr": 0.01, "max_norm": 1.0}

RECURRENT = {"embed_size": 12, "num_hiddens": 16, "num_layers": 2}
TRANSFORMER = {"num_hiddens": 16, "ffn_num_hiddens": 24, "num_heads": 4, "num_blks": 2}
# Encoder, decoder, arguments of both, and the decoder's own.
MODELS = {
    "seq2seq/GRU": ("Seq2SeqEncoder", "Seq2SeqDecoder", RECURRENT, {}),
    "seq2seq/LSTM": ("LSTMEncoder", "LSTMDecoder", RECURRENT, {}),
    "bahdanau/GRU": ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder", RECURRENT, {}),
    "bahdanau/LSTM": ("LSTMEncoder", "LSTMAttentionDecoder", RECURRENT, {}),
    "bahdanau/bidirectional": ("BidirectionalEncoder", "Seq2SeqAttentionDecoder", RECURRENT, {}),
    "bahdanau/Luong": ("Seq2SeqEncoder", "LuongDecoder", RECURRENT, {"attention": "bilinear"}),
    "transformer/post": ("TransformerEncoder", "TransformerDecoder", TRANSFORMER, {}),
    "transformer/pre": (
        "TransformerEncoder",
        "TransformerDecoder",
        TRANSFORMER | {"norm": "pre", "activation": "gelu"},
        {},
    ),
}

LANGUAGE_MODEL = {
    "num_hiddens": 16,
    "ffn_num_hiddens": 24,
    "num_heads": 4,
    "num_kv_heads": 2,
    "num_blks": 2,
    "max_len": 64,
}
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "gpt/Llama": {},
    "gpt/GPT-2": {"position": "learned", "norm": "layer", "activation": "gelu_tanh"},
    "gpt/Mistral": {"window": 5, "num_sinks": 1, "tie_weights": False},
    "gpt/ALiBi, GEGLU": {"position": "alibi", "activation": "geglu"},
    "gpt/Mixtral": {"num_experts": 3, "tie_weights": False},
}
READERS = ("bert/BERT", "vision/ViT")
READER = {"num_hiddens": 16, "num_hiddens_within": 24, "num_heads": 4}
HUGGING_FACE: dict[str, Any] = {"activation": "gelu", "norm_embedding": True, "eps": 1e-12}
PROMPTS = ("He is", "I am ", "The c")


def plans(seed: int = 0) -> dict[str, Plan]:
    """Return ``{"topic/model" or "topic/model, dropout": Plan}``."""
    data, sentences, references = corpus()
    found: dict[str, Plan] = {}
    for name, (encoder, decoder, sizes, own) in MODELS.items():
        for rate in (0, RATE):
            options = sizes | {"dropout": rate}
            pair = reference.EncoderDecoder(
                getattr(reference, encoder)(len(data.src_vocab), **options),
                getattr(reference, decoder)(len(data.tgt_vocab), **options, **own),
            )
            found[f"{name}, dropout" if rate else name] = TranslationPlan(
                data=data,
                target=describe(pair),
                epochs=STEPS // data.num_batches,
                seed=seed,
                sentences=sentences,
                references=references,
                beam=None if rate else 3,
                **TRAINING,
            )
    return found | _language_models(seed) | _readers(seed)


def _language_models(seed: int) -> dict[str, Plan]:
    text = load_text("bundled")[:1100]
    data = LanguageData(text, num_steps=24, batch_size=16, val_fraction=0.3)
    found: dict[str, Plan] = {}
    for name, options in LANGUAGE_MODELS.items():
        for rate in (0, RATE):
            module = reference.GPT(len(data.vocab), **LANGUAGE_MODEL, dropout=rate, **options)
            found[f"{name}, dropout" if rate else name] = TextPlan(
                data=data,
                target=describe(module),
                epochs=STEPS // data.num_batches,
                seed=seed,
                prompts=np.array([data.encode(prompt) for prompt in PROMPTS]),
                num_tokens=20,
                **TRAINING,
            )
    return found


def _readers(seed: int) -> dict[str, Plan]:
    text, (images, labels) = load_text("bundled")[:1600], load_images("bundled")
    words = MaskedData(text, num_steps=12, batch_size=12, val_fraction=0.2)
    digits = ImageData(images[:200], labels[:200], batch_size=22, test_fraction=0.4)
    sizes = READER["num_hiddens"], READER["num_hiddens_within"], READER["num_heads"], 2
    found: dict[str, Plan] = {}
    for rate in (0, RATE):
        bert = reference.BERTMaskLM(len(words.vocab), *sizes, rate, max_len=12, **HUGGING_FACE)
        vit = reference.ViT(8, 4, *sizes, rate, rate, num_classes=digits.num_classes)
        for name, data, module in zip(READERS, (words, digits), (bert, vit), strict=True):
            found[f"{name}, dropout" if rate else name] = ReaderPlan(
                data=data,
                target=describe(module),
                epochs=STEPS // data.num_batches,
                seed=seed,
                questions=next(iter(data.batches(0, 0, train=False)))[:-1],
                **TRAINING,
            )
    return found


def corpus() -> tuple[TranslationData, list[str], list[str]]:
    """Return 32 short pairs as data, two batches, and the sentences of 12 of them."""
    pairs = [p for p in load_pairs("bundled") if max(len(side.split()) for side in p) <= 5]
    pairs = list(dict(pairs).items())[:32]  # one translation each
    data = TranslationData(pairs, num_steps=6, num_train=32, num_val=0, batch_size=16, min_freq=1)
    return data, [source for source, _ in pairs[:12]], [target for _, target in pairs[:12]]
