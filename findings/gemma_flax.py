"""Gemma in Flax leaves the base of its rotary positions and its activation out of account."""

import tempfile

import numpy as np
import torch
from transformers import FlaxGemmaModel, GemmaConfig, GemmaModel

IDS = np.array([[1, 2, 3, 4]])


def model(**options):
    config = GemmaConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, head_dim=4,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=8,
        initializer_range=0.5, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return GemmaModel(config).eval()


LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
ACTS = {"hidden_act": "relu"}, {"hidden_activation": "relu"}
for option in ({"rope_theta": 100.0}, LINEAR, *ACTS, {}):
    right, other = model(**option), model()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = np.asarray(FlaxGemmaModel.from_pretrained(folder, from_pt=True)(IDS)[0])
        a, b = (m.double()(torch.tensor(IDS))[0].numpy() for m in (right, other))
    print(option, abs(port - a).max(), "PyTorch without it:", abs(port - b).max())
