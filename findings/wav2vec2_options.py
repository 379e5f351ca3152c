"""wav2vec2's convolutions have an epsilon of their own in PyTorch; TensorFlow has no adapter."""

import tempfile

import numpy as np
import torch
from transformers import TFWav2Vec2Model, Wav2Vec2Config, Wav2Vec2Model

X = np.random.default_rng(0).standard_normal((1, 160)).astype("float32")
for option in ({"layer_norm_eps": 0.1}, {"add_adapter": True}, {}):
    torch.manual_seed(0)
    right = Wav2Vec2Model(Wav2Vec2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        conv_dim=[8, 8], conv_stride=[3, 2], conv_kernel=[5, 3], num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, feat_extract_norm="layer", **option,
    )).eval()  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = TFWav2Vec2Model.from_pretrained(folder, from_pt=True)(X)[0].numpy()
        exact, X64 = right.double(), torch.tensor(X).double()
        a = exact(X64)[0].numpy()
        exact.adapter = None
        for layer in exact.feature_extractor.conv_layers:
            layer.layer_norm.eps = exact.config.layer_norm_eps
        b = exact(X64)[0].numpy()
    error = abs(port - a).max() if port.shape == a.shape else f"{port.shape}, must be {a.shape}"
    print(option, error, "as without the adapter, epsilon read:", abs(port - b).max())
