"""TensorFlow's encoder-decoder finds no weights of XLM-RoBERTa or CamemBERT: they stay random."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import EncoderDecoderConfig, EncoderDecoderModel, TFEncoderDecoderModel

IDS = np.array([[3, 4, 5, 6]])
SMALL = {
    "vocab_size": 9, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 12, "initializer_range": 0.5,
}  # fmt: skip
for name in ("XLMRoberta", "Camembert", "Roberta"):
    make = getattr(transformers, f"{name}Config")
    parts = make(**SMALL), make(**SMALL, is_decoder=True, add_cross_attention=True)
    torch.manual_seed(0)
    right = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(*parts)).eval()
    ports = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        for seed in (0, 1):
            transformers.set_seed(seed)
            port = TFEncoderDecoderModel.from_pretrained(folder, from_pt=True)
            ports.append(port(IDS, decoder_input_ids=IDS).encoder_last_hidden_state.numpy())
        ids = torch.tensor(IDS)
        a = right.double()(ids, decoder_input_ids=ids).encoder_last_hidden_state.numpy()
    error, other = abs(ports[0] - a).max(), abs(ports[0] - ports[1]).max()
    print(name, error, "loaded again, with another seed:", other)
