"""Whisper's own head is `proj_out` in PyTorch: Flax looks for another, TensorFlow for none."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import WhisperConfig, WhisperForConditionalGeneration

X, IDS = np.random.default_rng(0).standard_normal((1, 8, 16)).astype("float32"), np.array([[3, 4]])
for tied in (False, True):
    torch.manual_seed(0)
    right = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=9, num_mel_bins=8, encoder_layers=1, encoder_attention_heads=2, d_model=8,
        decoder_layers=1, decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12,
        max_source_positions=8, max_target_positions=8, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, init_std=0.5, tie_word_embeddings=tied,
    )).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        a = right.double()(torch.tensor(X).double(), decoder_input_ids=torch.tensor(IDS)).logits
        for name in ("Flax", "TF"):
            load = getattr(transformers, f"{name}WhisperForConditionalGeneration").from_pretrained
            x = np.asarray(load(folder, from_pt=True)(X, decoder_input_ids=IDS).logits)
            print(name, "tied:", tied, abs(x - a.numpy()).max())
