"""Blenderbot-small's decoder in PyTorch does not scale embeddings; a norm hides most of it."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import BlenderbotSmallConfig, BlenderbotSmallModel

IDS = np.array([[3, 4, 5, 6]])
torch.manual_seed(0)
right = BlenderbotSmallModel(BlenderbotSmallConfig(
    vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, max_position_embeddings=8,
    scale_embedding=True,
)).eval()  # fmt: skip
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    right.save_pretrained(folder)
    ids = torch.tensor(IDS)
    exact = right.double()
    a = exact(ids, decoder_input_ids=ids)[0].numpy()
    table = torch.nn.Embedding.from_pretrained(exact.shared.weight * exact.decoder.embed_scale)
    exact.decoder.embed_tokens = table
    b = exact(ids, decoder_input_ids=ids)[0].numpy()
    for name in ("TF", "Flax"):
        load = getattr(transformers, f"{name}BlenderbotSmallModel").from_pretrained
        x = np.asarray(load(folder, from_pt=True)(IDS, decoder_input_ids=IDS)[0])
        print(name, abs(x - a).max(), "as if PyTorch's did:", abs(x - b).max())
