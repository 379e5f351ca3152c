"""Electra in Flax takes all tokens as of the second kind, where PyTorch's takes the first."""

import tempfile

import numpy as np
import torch
from transformers import ElectraConfig, ElectraModel, FlaxElectraModel

IDS = np.array([[1, 2, 3, 4]])
config = ElectraConfig(
    vocab_size=9, embedding_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=8, initializer_range=0.5,
)  # fmt: skip
torch.manual_seed(0)
right = ElectraModel(config).eval()
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    right.save_pretrained(folder)
    port = FlaxElectraModel.from_pretrained(folder, from_pt=True)
    a = right.double()(torch.tensor(IDS))[0].numpy()
    b = right(torch.tensor(IDS), token_type_ids=torch.ones(1, 4).long())[0].numpy()
x = np.asarray(port(IDS)[0])
print("none given:", abs(x - a).max(), "as if they were 1:", abs(x - b).max())
print("zeros given:", abs(np.asarray(port(IDS, token_type_ids=IDS * 0)[0]) - a).max())
