"""ESM in TensorFlow makes its table of distances in its first call: it stays random."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import EsmConfig, EsmModel, TFEsmModel

IDS = np.array([[4, 5, 6, 7]])
for kind in ("relative_key", "relative_key_query", "absolute"):
    torch.manual_seed(0)
    right = EsmModel(EsmConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, pad_token_id=1,
        num_attention_heads=2, max_position_embeddings=12, initializer_range=0.5,
        position_embedding_type=kind, mask_token_id=2, attn_implementation="eager",
    )).eval()  # fmt: skip
    ports = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        for seed in (0, 1):
            transformers.set_seed(seed)
            ports.append(TFEsmModel.from_pretrained(folder, from_pt=True)(IDS)[0].numpy())
        a = right.double()(torch.tensor(IDS))[0].numpy()
    error, other = abs(ports[0] - a).max(), abs(ports[0] - ports[1]).max()
    print(kind, error, "loaded again, with another seed:", other)
