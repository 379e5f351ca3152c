"""ALBERT's head in TensorFlow finds no bias: PyTorch's file has it once, by the other name."""

import tempfile

import numpy as np
import torch
from transformers import AlbertConfig, AlbertForMaskedLM, TFAlbertForMaskedLM

IDS = np.array([[3, 4, 5, 6]])
torch.manual_seed(0)
right = AlbertForMaskedLM(AlbertConfig(
    vocab_size=9, embedding_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=8, initializer_range=0.5,
)).eval()  # fmt: skip
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    bias = right.predictions.bias
    for size in (1.0, 0.0):
        bias.copy_(size * torch.randn(9))
        right.float().save_pretrained(folder)
        port = TFAlbertForMaskedLM.from_pretrained(folder, from_pt=True)(IDS).logits.numpy()
        a = right.double()(torch.tensor(IDS)).logits.numpy()
        without = abs(port - (a - right.predictions.decoder.bias.numpy())).max()
        print("bias of", size, abs(port - a).max(), "without it:", without)
