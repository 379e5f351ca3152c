"""Ports know no `tie_encoder_decoder`: what PyTorch's file has once stays random in the encoder."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

IDS = np.array([[3, 4, 5, 6]])
small = BertConfig(
    vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=8, initializer_range=0.5,
)  # fmt: skip
for tied in (True, False):
    config = EncoderDecoderConfig.from_encoder_decoder_configs(small, small)
    config.decoder.is_decoder = config.decoder.add_cross_attention = True
    config.tie_encoder_decoder = tied
    torch.manual_seed(0)
    right = EncoderDecoderModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        ids = torch.tensor(IDS)
        a = right.double()(ids, decoder_input_ids=ids).encoder_last_hidden_state.numpy()
        for name in ("TF", "Flax"):
            load = getattr(transformers, f"{name}EncoderDecoderModel").from_pretrained
            port = load(folder, from_pt=True)(IDS, decoder_input_ids=IDS)
            print(tied, name, abs(np.asarray(port.encoder_last_hidden_state) - a).max())
