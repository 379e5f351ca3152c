"""Mistral in TensorFlow and Flax knows no other scale of its rotary positions."""

import tempfile

import numpy as np
import torch
from transformers import FlaxMistralModel, MistralConfig, MistralModel, TFMistralModel

IDS, LINEAR = np.array([[1, 2, 3, 4, 5, 6]]), {"rope_type": "linear", "factor": 2.0}


def model(**options):
    torch.manual_seed(0)
    return MistralModel(MistralConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, pad_token_id=0,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=8, **options,
    )).eval()  # fmt: skip


for port, own, other in (
    (FlaxMistralModel, {"sliding_window": 7, "rope_scaling": LINEAR}, {"sliding_window": 8}),
    (TFMistralModel, {"sliding_window": 8, "rope_scaling": LINEAR}, {"sliding_window": 8}),
):
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model(**own).save_pretrained(folder)
        x = np.asarray(port.from_pretrained(folder, from_pt=True)(IDS)[0])
        a, b = (model(**o).double()(torch.tensor(IDS))[0].numpy() for o in (own, other))
    print(port.__name__, own, abs(x - a).max(), f"as PyTorch's {other}:", abs(x - b).max())
