"""`FlaxEncoderDecoderModel.encode`, which `generate` calls, gives BERT positions as token types."""

import tempfile

import numpy as np
import torch
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel
from transformers import FlaxEncoderDecoderModel as Flax

IDS = np.array([[3, 4, 5, 6]])

for types in (2, 8):  # there are; the indices 2 and 3 are beyond a table of two
    small = BertConfig(
        vocab_size=9, hidden_size=8, intermediate_size=12, type_vocab_size=types,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8,
    )  # fmt: skip
    config = EncoderDecoderConfig.from_encoder_decoder_configs(small, small)
    config.decoder.is_decoder = config.decoder.add_cross_attention = True
    torch.manual_seed(0)
    right = EncoderDecoderModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = Flax.from_pretrained(folder, from_pt=True)
        whole, encoded = port(IDS, decoder_input_ids=IDS), port.encode(IDS)[0]
        ids, positions = torch.tensor(IDS), torch.arange(4)[None]
        a = right.encoder.double()(ids)[0].numpy()
        b = right.encoder(ids, token_type_ids=positions % types)[0].numpy()
    pairs = (whole.encoder_last_hidden_state, a), (encoded, a), (encoded, b)
    whole, encoded, other = (abs(x - y).max() for x, y in pairs)
    print(types, "types: whole", whole, "encode", encoded, "as if positions were types:", other)
