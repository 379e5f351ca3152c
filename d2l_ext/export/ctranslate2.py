"""A Transformer as a model of CTranslate2, which translates on CPUs and GPUs without a framework.

CTranslate2 has the same Transformer: scaled embeddings, a table of positions, normalisation after
or before each part. It keeps the projections of one input as one matrix.
"""

from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.tables import sinusoids
from d2l_ext.training.checkpoint import Checkpoint, CheckpointError


def write(saved: Checkpoint, folder: Path) -> None:
    """Write a checkpoint's model, in float32, into a folder that is there.

    Raises:
        CheckpointError: its model is no Transformer.
        ImportError: CTranslate2 is not installed.
    """
    spec = specification(saved)
    spec.validate()
    spec.optimize()
    spec.save(str(folder))


def specification(saved: Checkpoint) -> Any:
    """Return what CTranslate2 calls a model's specification: its options and its weights."""
    from ctranslate2.specs import TransformerSpec

    parts = _configurations(saved)
    spec: Any = TransformerSpec(_encoder(parts["encoder"]), _decoder(parts["decoder"]))
    _fill_encoder(spec.encoder, parts["encoder"], _below(saved.parameters, "encoder"))
    _fill_decoder(spec.decoder, parts["decoder"], _below(saved.parameters, "decoder"))
    assert saved.src_vocab is not None and saved.tgt_vocab is not None
    spec.register_source_vocabulary(list(saved.src_vocab))
    spec.register_target_vocabulary(list(saved.tgt_vocab))
    spec.config.unk_token = "<unk>"
    spec.config.bos_token = spec.config.decoder_start_token = "<bos>"
    spec.config.eos_token = "<eos>"
    return spec


def _configurations(saved: Checkpoint) -> dict[str, dict[str, Any]]:
    parts = saved.model["config"] if saved.model["class"] == "EncoderDecoder" else {}
    classes = [part["class"] for part in parts.values()]
    if classes != ["TransformerEncoder", "TransformerDecoder"]:
        found = ", ".join(classes) or saved.model["class"]
        raise CheckpointError(f"its model: got {found}, must be a Transformer for CTranslate2")
    return {name: part["config"] for name, part in parts.items()}


def _encoder(config: dict[str, Any]) -> Any:
    from ctranslate2.specs.transformer_spec import TransformerEncoderSpec

    return TransformerEncoderSpec(config["num_blks"], config["num_heads"], **_options(config))


def _decoder(config: dict[str, Any]) -> Any:
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec

    return TransformerDecoderSpec(config["num_blks"], config["num_heads"], **_options(config))


def _options(config: dict[str, Any]) -> dict[str, Any]:
    from ctranslate2.specs import Activation

    activations = {"relu": Activation.RELU, "gelu": Activation.GELU}
    return {
        "pre_norm": config["norm"] == "pre",
        "activation": activations[config["activation"]],
    }


def _below(parameters: Arrays, name: str) -> Arrays:
    """Return the parameters below a name, without it, in float32."""
    start = f"{name}."
    return {
        key.removeprefix(start): value.astype(np.float32)
        for key, value in parameters.items()
        if key.startswith(start)
    }


def _fill_encoder(spec: Any, config: dict[str, Any], parameters: Arrays) -> None:
    _fill_embedding(spec, spec.embeddings[0], config, parameters)
    for i, layer in enumerate(spec.layer):
        block = _below(parameters, f"blks.block{i}")
        _fill_attention(layer.self_attention, block, "attention", "addnorm1", "qkv", "o")
        _fill_network(layer.ffn, block, "addnorm2")


def _fill_decoder(spec: Any, config: dict[str, Any], parameters: Arrays) -> None:
    _fill_embedding(spec, spec.embeddings, config, parameters)
    for i, layer in enumerate(spec.layer):
        block = _below(parameters, f"blks.block{i}")
        _fill_attention(layer.self_attention, block, "attention1", "addnorm1", "qkv", "o")
        _fill_attention(layer.attention, block, "attention2", "addnorm2", "q", "kv", "o")
        _fill_network(layer.ffn, block, "addnorm3")
    _fill_linear(spec.projection, parameters, "dense")


def _fill_embedding(spec: Any, embedding: Any, config: dict[str, Any], parameters: Arrays) -> None:
    embedding.weight = parameters["embedding.weight"]
    table = sinusoids(config["max_len"], config["num_hiddens"])
    spec.position_encodings.encodings = table.astype(np.float32)
    if config["norm"] == "pre":
        _fill_norm(spec.layer_norm, parameters, "ln")


def _fill_attention(spec: Any, block: Arrays, name: str, norm: str, *products: str) -> None:
    """Fill in an attention whose projections are multiplied as said: "qkv" is one matrix."""
    for linear, together in zip(spec.linear, products, strict=True):
        _fill_linear(linear, block, *(f"{name}.W_{letter}" for letter in together))
    _fill_norm(spec.layer_norm, block, f"{norm}.ln")


def _fill_network(spec: Any, block: Arrays, norm: str) -> None:
    _fill_linear(spec.linear_0, block, "ffn.dense1")
    _fill_linear(spec.linear_1, block, "ffn.dense2")
    _fill_norm(spec.layer_norm, block, f"{norm}.ln")


def _fill_linear(spec: Any, parameters: Arrays, *names: str) -> None:
    spec.weight = np.concatenate([parameters[f"{name}.weight"] for name in names])
    if f"{names[0]}.bias" in parameters:
        spec.bias = np.concatenate([parameters[f"{name}.bias"] for name in names])


def _fill_norm(spec: Any, parameters: Arrays, name: str) -> None:
    spec.gamma, spec.beta = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
