"""Flax's models that are made of two count positions from 0, also where RoBERTa is one of them."""

import tempfile

import numpy as np
import torch
import transformers
from transformers import RobertaConfig, ViTConfig

IDS, X, FROM_0 = np.array([[3, 4, 5, 6]]), np.ones((1, 3, 4, 4), "float32"), torch.arange(4)[None]
SIZE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
text = {**SIZE, "vocab_size": 9, "max_position_embeddings": 12, "initializer_range": 0.5}
reader, image = RobertaConfig(**text), ViTConfig(**SIZE, image_size=4, patch_size=2)
writer = RobertaConfig(**text, is_decoder=True, add_cross_attention=True)
for name, join, parts, given, key in (
    ("EncoderDecoder", "encoder_decoder", (reader, writer), ("input_ids", "decoder_input_ids"), "logits"),
    ("VisionEncoderDecoder", "encoder_decoder", (image, writer), ("decoder_input_ids",), "logits"),
    ("VisionTextDualEncoder", "vision_text", (image, reader), ("input_ids",), "text_embeds"),
):  # fmt: skip
    config = getattr(getattr(transformers, f"{name}Config"), f"from_{join}_configs")(*parts)
    torch.manual_seed(0)
    right = getattr(transformers, f"{name}Model")(config).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        right.save_pretrained(folder)
        load = getattr(transformers, f"Flax{name}Model").from_pretrained
        seen = {"pixel_values": X} if parts[0] is image else {}
        x = np.asarray(load(folder, from_pt=True)(**dict.fromkeys(given, IDS), **seen)[key])
        inputs = {k: torch.tensor(v).double() for k, v in seen.items()}
        inputs |= dict.fromkeys(given, torch.tensor(IDS))
        from_0 = {k.replace("input", "position"): FROM_0 for k in given}
        a, b = (right.double()(**inputs, **o)[key].numpy() for o in ({}, from_0))
    print(f"Flax{name}Model", abs(x - a).max(), "as PyTorch's from 0:", abs(x - b).max())
