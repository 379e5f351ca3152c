"""Marian in TensorFlow and Flax has one table of embeddings, also where the model has two."""

import tempfile

import numpy as np
import torch
from transformers import FlaxMarianModel, MarianConfig, MarianModel, TFMarianModel

IDS, TARGETS = np.array([[1, 2, 3, 4]]), np.array([[5, 6, 7]])
config = MarianConfig(
    vocab_size=9, decoder_vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1,
    encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12,
    max_position_embeddings=8, pad_token_id=0, decoder_start_token_id=0, init_std=0.5,
    share_encoder_decoder_embeddings=False, attn_implementation="eager",
)  # fmt: skip
torch.manual_seed(0)
right = MarianModel(config).eval()
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    right.save_pretrained(folder)
    a = right.double()(torch.tensor(IDS), decoder_input_ids=torch.tensor(TARGETS))
    for port in (TFMarianModel, FlaxMarianModel):
        b = port.from_pretrained(folder, from_pt=True)(IDS, decoder_input_ids=TARGETS)
        for name in ("encoder_last_hidden_state", "last_hidden_state"):
            print(port.__name__, name, abs(a[name].numpy() - np.asarray(b[name])).max())
