"""Translating with random weights, all batches of one length: what is served, ours and theirs."""

import dataclasses

import numpy as np

import d2l_ext
from benchmarks.setting import EOS, Setting

NEVER = -1e4  # the logit of `<eos>`: every translation has all its tokens


def setting_of(size):
    """Return the setting of a Transformer for sources of these sizes."""
    sizes = dataclasses.asdict(size)
    del sizes["num_tokens"], sizes["beam"]
    return Setting(model="transformer", dropout=0.0, **sizes)


def model_of(framework, size):
    """Return the setting and the model, whose translations never end by themselves."""
    setting = setting_of(size)
    api = d2l_ext.backend(framework).api
    args = (
        setting.vocab_size,
        setting.num_hiddens,
        setting.ffn_num_hiddens,
        setting.num_heads,
        setting.num_layers,
        setting.dropout,
    )
    module = api.EncoderDecoder(api.TransformerEncoder(*args), api.TransformerDecoder(*args))
    *inputs, _ = setting.arrays()
    model = d2l_ext.backend(framework).model(module, *inputs)
    parameters = model.parameters()
    parameters["decoder.dense.bias"] = np.zeros(setting.vocab_size, "float32")
    parameters["decoder.dense.bias"][EOS] = NEVER
    model.load_parameters(parameters)
    return setting, model
