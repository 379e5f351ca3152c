"""PyTorch's vision-encoder-decoder shifts its labels twice; TensorFlow's loss is the mean of all."""

import tempfile

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, TFVisionEncoderDecoderModel, ViTConfig
from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel  # fmt: skip

X, LABELS = np.ones((1, 3, 4, 4), "float32"), np.array([[7, 8, 3, 4]])
small = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
writer = BertConfig(**small, vocab_size=9, initializer_range=0.5, is_decoder=True,
                    add_cross_attention=True)  # fmt: skip
parts = ViTConfig(**small, image_size=4, patch_size=2), writer
config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts)
config.pad_token_id, config.decoder_start_token_id = 0, 1
torch.manual_seed(0)
right = VisionEncoderDecoderModel(config).eval()
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    right.save_pretrained(folder)
    port = TFVisionEncoderDecoderModel.from_pretrained(folder, from_pt=True)(X, labels=LABELS)
    a = right.double()(torch.tensor(X).double(), labels=torch.tensor(LABELS))
    logits, labels = a.logits[0], torch.tensor(LABELS[0])
    once, twice = cross_entropy(logits, labels), cross_entropy(logits[:-1], labels[1:])
loss = float(port.loss[0])
print("logits", abs(port.logits.numpy() - a.logits.numpy()).max(), "loss", abs(loss - float(a.loss)), end=" ")
print("as shifted once:", abs(loss - float(once)), "PyTorch's as twice:", abs(float(a.loss - twice)))
