"""PyTorch's vision-encoder-decoder shifts its labels twice; TensorFlow's is right."""

import tempfile

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, TFVisionEncoderDecoderModel, ViTConfig
from transformers import VisionEncoderDecoderConfig as Config
from transformers import VisionEncoderDecoderModel as Model

X, LABELS = np.ones((1, 3, 4, 4), "float32"), np.array([[7, 8, 3, 4]])
SIZE = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
writer = BertConfig(**SIZE, vocab_size=9, is_decoder=True, add_cross_attention=True)
reader = ViTConfig(**SIZE, image_size=4, patch_size=2)
config = Config.from_encoder_decoder_configs(reader, writer)
config.pad_token_id, config.decoder_start_token_id = 0, 1
torch.manual_seed(0)
right = Model(config).eval()
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    right.decoder.cls.predictions.bias.copy_(torch.randn(9))
    right.save_pretrained(folder)
    port = TFVisionEncoderDecoderModel.from_pretrained(folder, from_pt=True)(X, labels=LABELS)
    a = right.double()(torch.tensor(X).double(), labels=torch.tensor(LABELS))
logits, labels, loss = a.logits[0], torch.tensor(LABELS[0]), float(port.loss[0])
once, twice = (float(cross_entropy(logits[:n], labels[-n:])) for n in (4, 3))
print(
    "logits", abs(port.logits.numpy() - a.logits.numpy()).max(), "loss", abs(loss - float(a.loss))
)
print("as shifted once:", abs(loss - once), "PyTorch's as twice:", abs(float(a.loss) - twice))
