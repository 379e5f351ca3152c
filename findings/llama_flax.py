"""Llama in Flax leaves three options out of account: the MLP's biases, base and scaling."""

import tempfile

import numpy as np
import torch
from transformers import FlaxLlamaModel, LlamaConfig, LlamaModel

IDS = np.array([[1, 2, 3, 4]])


def models(**options):
    torch.manual_seed(0)
    model = LlamaModel(LlamaConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, initializer_range=1, **options,
    )).eval()  # fmt: skip
    [torch.nn.init.normal_(p) for name, p in model.named_parameters() if "bias" in name]
    return model


scaling = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
for option in ({"mlp_bias": True}, {"rope_theta": 100.0}, scaling, {}):
    right, other = models(**option), models()
    other.load_state_dict(right.state_dict(), strict=False)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = np.asarray(FlaxLlamaModel.from_pretrained(folder, from_pt=True)(IDS)[0])
        a, b = (m.double()(torch.tensor(IDS))[0].numpy() for m in (right, other))
    print(option, abs(port - a).max(), "without it:", abs(port - b).max())
