"""PyTorch's encoder-decoder masks padding in inputs that it makes of labels; TensorFlow's not."""

import tempfile

import numpy as np
import torch
from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel
from transformers import TFEncoderDecoderModel as TF

IDS, LABELS = np.array([[3, 4, 5, 6]]), np.array([[7, 8, 3, 4]])
small = BertConfig(
    vocab_size=9, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
    max_position_embeddings=8, initializer_range=0.5,
)  # fmt: skip
for start in (0, 1):  # 0 is for padding
    config = EncoderDecoderConfig.from_encoder_decoder_configs(small, small)
    config.decoder.is_decoder = config.decoder.add_cross_attention = True
    config.pad_token_id, config.decoder_start_token_id = 0, start
    torch.manual_seed(0)
    right = EncoderDecoderModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        port = TF.from_pretrained(folder, from_pt=True)(IDS, labels=LABELS).logits.numpy()
        ids, labels, all_ = torch.tensor(IDS), torch.tensor(LABELS), torch.ones(1, 4, dtype=int)
        a = right(ids, labels=labels).logits.numpy()
        made = right.prepare_decoder_input_ids_from_labels(labels)
        b = right(ids, decoder_input_ids=made, decoder_attention_mask=all_).logits.numpy()
    print("start", start, abs(port - a).max(), "as without a mask:", abs(port - b).max())
