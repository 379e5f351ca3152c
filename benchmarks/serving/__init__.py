"""Translating with random weights, all batches of one length: what is served, ours and theirs."""

import dataclasses

import numpy as np

from benchmarks.ours import model_of as random_model
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
    _, model = random_model(framework, setting)
    parameters = model.parameters()
    parameters["decoder.dense.bias"] = np.zeros(setting.vocab_size, "float32")
    parameters["decoder.dense.bias"][EOS] = NEVER
    model.load_parameters(parameters)
    return setting, model
