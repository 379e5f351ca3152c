"""XGLM's table of positions has a row of zeros for padding: in Flax it is row 1, always."""

import tempfile

import numpy as np
import torch
from transformers import FlaxXGLMModel, XGLMConfig, XGLMModel

IDS = np.array([[4, 5, 6, 7]])
for padding in (3, 1):
    torch.manual_seed(0)
    right = XGLMModel(XGLMConfig(
        vocab_size=9, max_position_embeddings=8, d_model=8, ffn_dim=12, num_layers=1,
        attention_heads=2, pad_token_id=padding, init_std=0.5,
    )).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = np.asarray(FlaxXGLMModel.from_pretrained(folder, from_pt=True)(IDS)[0])
        ids = torch.tensor(IDS)
        a = right(ids)[0].numpy()
        right.embed_positions.make_weights(10, 8, 1)
        b = right(ids)[0].numpy()
    print("padding", padding, abs(port - a).max(), "as if it were 1:", abs(port - b).max())
