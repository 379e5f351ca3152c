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
        num_hidden_layers=1, max_position_embeddings=8, num_attention_heads=2, initializer_range=0.5,
    )  # fmt: skip
    config = EncoderDecoderConfig.from_encoder_decoder_configs(small, small)
    config.decoder.is_decoder = config.decoder.add_cross_attention = True
    torch.manual_seed(0)
    right = EncoderDecoderModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = Flax.from_pretrained(folder, from_pt=True)
        whole = port(IDS, decoder_input_ids=IDS).encoder_last_hidden_state
        encoded = port.encode(IDS)[0]
        ids = torch.tensor(IDS)
        a = right.encoder.double()(ids)[0].numpy()
        b = right.encoder(ids, token_type_ids=torch.arange(4)[None] % types)[0].numpy()
    whole, encoded, other = (abs(x - y).max() for x, y in ((whole, a), (encoded, a), (encoded, b)))
    print(types, "types: whole", whole, "encode", encoded, "as if positions were types:", other)
