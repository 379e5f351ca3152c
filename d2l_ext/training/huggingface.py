"""Language models in Hugging Face's format: read into canonical names, and written back.

A folder holds ``config.json`` and ``model.safetensors`` (or several files and their index). GPT-2,
Llama, Mistral and Mixtral are all a `GPT`; the tables below say which tensor is which parameter.

GPT-2's matrices are stored transposed. Nothing else is changed, and no tensor is computed with, so
what is read and written again is the same to the bit. NumPy has no bfloat16: it is read as float32,
which holds all of it.
"""

import dataclasses
import json
import re
import struct
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from d2l_ext.config import build
from d2l_ext.files import replacing

DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "BF16": np.float32}
HEADER = struct.Struct("<Q")  # the length of the text before the tensors

# Canonical names and theirs; {} are the numbers of block and expert.
LLAMA = {
    "embedding": "model.embed_tokens",
    "blks.block{}.norm1": "model.layers.{}.input_layernorm",
    "blks.block{}.attention.W_q": "model.layers.{}.self_attn.q_proj",
    "blks.block{}.attention.W_k": "model.layers.{}.self_attn.k_proj",
    "blks.block{}.attention.W_v": "model.layers.{}.self_attn.v_proj",
    "blks.block{}.attention.W_o": "model.layers.{}.self_attn.o_proj",
    "blks.block{}.norm2": "model.layers.{}.post_attention_layernorm",
    "blks.block{}.ffn.gate": "model.layers.{}.mlp.gate_proj",
    "blks.block{}.ffn.up": "model.layers.{}.mlp.up_proj",
    "blks.block{}.ffn.down": "model.layers.{}.mlp.down_proj",
    "blks.block{}.ffn.router": "model.layers.{}.block_sparse_moe.gate",
    "blks.block{}.ffn.experts.expert{}.gate": "model.layers.{}.block_sparse_moe.experts.{}.w1",
    "blks.block{}.ffn.experts.expert{}.up": "model.layers.{}.block_sparse_moe.experts.{}.w3",
    "blks.block{}.ffn.experts.expert{}.down": "model.layers.{}.block_sparse_moe.experts.{}.w2",
    "norm": "model.norm",
    "dense": "lm_head",
}
GPT2 = {
    "embedding": "transformer.wte",
    "pos_embedding": "transformer.wpe",
    "blks.block{}.norm1": "transformer.h.{}.ln_1",
    "blks.block{}.attention.W_q": "transformer.h.{}.attn.c_attn.q",  # joined in their files
    "blks.block{}.attention.W_k": "transformer.h.{}.attn.c_attn.k",
    "blks.block{}.attention.W_v": "transformer.h.{}.attn.c_attn.v",
    "blks.block{}.attention.W_o": "transformer.h.{}.attn.c_proj",
    "blks.block{}.norm2": "transformer.h.{}.ln_2",
    "blks.block{}.ffn.up": "transformer.h.{}.mlp.c_fc",
    "blks.block{}.ffn.down": "transformer.h.{}.mlp.c_proj",
    "norm": "transformer.ln_f",
    "dense": "lm_head",
}
FAMILIES = {"gpt2": GPT2, "llama": LLAMA, "mistral": LLAMA, "mixtral": LLAMA}
NUMBERS = re.compile(
    r"(?<=blks\.block)\d+|(?<=\.expert)\d+|(?<=layers\.|xperts\.)\d+|(?<=\.h\.)\d+"
)
TRANSPOSED = re.compile(r"\.c_(attn|proj|fc)\.weight$")
GPT2_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}


@dataclasses.dataclass
class Pretrained:
    """A model of Hugging Face's, as this project has it.

    Attributes:
        config: their configuration, as `config.json` has it.
        parameters: ``{canonical name: array}``.
        dtype: of the file, as safetensors calls it: "F32", "BF16" and so on.
    """

    config: dict
    parameters: dict
    dtype: str = "F32"

    @property
    def description(self):
        """The `GPT` that the parameters belong to, as `d2l_ext.config.build` takes it."""
        options = gpt2_options(self.config) if self.is_gpt2 else llama_options(self.config)
        options["tie_weights"] = "dense.weight" not in self.parameters
        return {"class": "GPT", "config": options}

    @property
    def is_gpt2(self):
        """Whether it is of the older family."""
        return self.config["model_type"] == "gpt2"

    def build(self, backend, dtype="float32"):
        """Build the model in a framework and return a `Model` with these parameters."""
        module = build(backend.api, self.description)
        model = backend.model(module, np.zeros((1, 2), np.int64), dtype=dtype)
        model.load_parameters(self.parameters)
        return model


def read(path):
    """Read a model.

    Args:
        path: a folder, or a safetensors file with its ``config.json`` beside it.

    Returns:
        A `Pretrained`.

    Raises:
        ValueError: another family, an option that `GPT` does not have, a tensor without a name
            here, or a damaged file.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    config = json.loads((folder / "config.json").read_text())
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(f"model_type: got {family!r}, must be one of {', '.join(FAMILIES)}")
    index = folder / "model.safetensors.index.json"
    if not path.is_dir():
        files = [path]
    elif index.exists():
        names = json.loads(index.read_text())["weight_map"].values()
        files = [folder / name for name in sorted(set(names))]
    else:
        files = [folder / "model.safetensors"]
    found, dtypes = {}, set()
    for file in files:
        for name, dtype, array in _read_tensors(file):
            found[name] = array
            dtypes.add(dtype)
    if len(dtypes) != 1:
        raise ValueError(f"{path}: got tensors of dtypes {sorted(dtypes)}, must be one")
    if family == "gpt2":
        found = _gpt2_apart(found)
    ours = {theirs: name for name, theirs in FAMILIES[family].items()}
    parameters = {_renamed(name, ours): array for name, array in found.items()}
    pretrained = Pretrained(config, parameters, dtypes.pop())
    pretrained.description  # noqa: B018 - raises where an option is not supported
    return pretrained


def write(folder, pretrained):
    """Write a model as `read` reads it and as transformers does.

    Args:
        folder: where to.
        pretrained: from `read`; its parameters may have been trained on.
    """
    with replacing(Path(folder) / "model.safetensors") as file:
        file.write(_formatted(tensors(pretrained), pretrained.dtype))
    with replacing(Path(folder) / "config.json") as file:
        file.write((json.dumps(pretrained.config, indent=2, sort_keys=True) + "\n").encode())


def tensors(pretrained):
    """Return the parameters under their names there, with the shapes that they have there."""
    table = FAMILIES[pretrained.config["model_type"]]
    renamed = {_renamed(name, table): x for name, x in pretrained.parameters.items()}
    return _gpt2_joined(renamed) if pretrained.is_gpt2 else renamed


def llama_options(config):
    """Return the arguments of `GPT` for Llama, Mistral and Mixtral."""
    hiddens, heads = config["hidden_size"], config["num_attention_heads"]
    experts = config.get("num_local_experts", 0)
    _supports(config, "hidden_act", "silu", "silu")
    _supports(config, "rope_scaling", None, None)
    _supports(config, "mlp_bias", False, False)
    _supports(config, "head_dim", None, None, hiddens // heads)
    if experts:
        _supports(config, "num_experts_per_tok", 2, 2)
    return {
        "vocab_size": config["vocab_size"],
        "num_hiddens": hiddens,
        "ffn_num_hiddens": config["intermediate_size"],
        "num_heads": heads,
        "num_kv_heads": config.get("num_key_value_heads") or heads,
        "num_blks": config["num_hidden_layers"],
        "window": config.get("sliding_window"),
        "num_experts": experts,
        "max_len": config["max_position_embeddings"],
        "use_bias": config.get("attention_bias", False),
        "eps": config.get("rms_norm_eps", 1e-6),
        "base": config.get("rope_theta", 10000.0),
    }


def gpt2_options(config):
    """Return the arguments of `GPT` for GPT-2."""
    _supports(config, "scale_attn_weights", True, True)
    _supports(config, "scale_attn_by_inverse_layer_idx", False, False)
    _supports(config, "add_cross_attention", False, False)
    activation = config.get("activation_function", "gelu_new")
    _supports(config, "activation_function", activation, *GPT2_ACTIVATIONS)
    return {
        "vocab_size": config["vocab_size"],
        "num_hiddens": config["n_embd"],
        "ffn_num_hiddens": config.get("n_inner") or 4 * config["n_embd"],
        "num_heads": config["n_head"],
        "num_kv_heads": config["n_head"],
        "num_blks": config["n_layer"],
        "position": "learned",
        "norm": "layer",
        "activation": GPT2_ACTIVATIONS[activation],
        "max_len": config["n_positions"],
        "eps": config.get("layer_norm_epsilon", 1e-5),
    }


def _supports(config, option, default, *values):
    """Check that an option has a value that `GPT` has too."""
    value = config.get(option, default)
    if value not in values:
        allowed = ", ".join(map(repr, values))
        raise ValueError(f"{option}: got {value!r}, `GPT` has {allowed} only")


def _renamed(name, table):
    """Translate a parameter's name."""
    module, leaf = name.rsplit(".", 1)
    template = NUMBERS.sub("{}", module)
    if template not in table:
        raise ValueError(f"{name}: no such parameter is known")
    return f"{table[template].format(*NUMBERS.findall(module))}.{leaf}"


def _gpt2_apart(tensors):
    """Give GPT-2's tensors the shapes that parameters have here."""
    apart = {}
    for name, x in tensors.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue  # old files hold the causal mask
        full = name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
        x = x.T if TRANSPOSED.search(full) else x
        if ".c_attn." in full:
            for part, third in zip("qkv", np.split(x, 3), strict=True):
                apart[full.replace(".c_attn.", f".c_attn.{part}.")] = third
        else:
            apart[full] = x
    return apart


def _gpt2_joined(tensors):
    """Undo `_gpt2_apart`."""
    joined = {}
    for name, x in tensors.items():
        if ".c_attn.k." in name or ".c_attn.v." in name:
            continue
        if ".c_attn.q." in name:
            x = np.concatenate([tensors[name.replace(".q.", f".{part}.")] for part in "qkv"])
            name = name.replace(".q.", ".")
        joined[name] = x.T if TRANSPOSED.search(name) else x
    return joined


def _read_tensors(file):
    """Yield name, dtype and array of the tensors of a file."""
    try:
        found = deserialize(file.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{file}: {error}") from error
    for name, tensor in found:
        dtype, data = tensor["dtype"], tensor["data"]
        if dtype == "BF16":
            x = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif dtype in DTYPES:
            x = np.frombuffer(data, DTYPES[dtype])
        else:
            continue  # a mask
        yield name, dtype, x.reshape(tensor["shape"])


def _formatted(tensors, dtype):
    """Return tensors as the bytes of a safetensors file, in the order of their names."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data, start = [], 0
    for name in sorted(tensors):
        data.append(_bytes(tensors[name], dtype))
        end = start + len(data[-1])
        shape = list(tensors[name].shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return b"".join((HEADER.pack(len(text)), text, *data))


def _bytes(x, dtype):
    x = np.ascontiguousarray(x, DTYPES[dtype])
    if dtype == "BF16":  # to the nearest, ties to even
        bits = x.view(np.uint32)
        x = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return x.tobytes()
