"""Families of models: which of their tensors is which parameter here, and which options they have.

In the tables {} stands for the numbers of block and expert. A canonical name with its last part
missing stands for the weight and the bias.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays

Config = dict[str, Any]

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
BERT = {
    "token_embedding": "bert.embeddings.word_embeddings",
    "segment_embedding": "bert.embeddings.token_type_embeddings",
    "pos_embedding": "bert.embeddings.position_embeddings.weight",
    "ln": "bert.embeddings.LayerNorm",
    "blks.{}.attention.W_q": "bert.encoder.layer.{}.attention.self.query",
    "blks.{}.attention.W_k": "bert.encoder.layer.{}.attention.self.key",
    "blks.{}.attention.W_v": "bert.encoder.layer.{}.attention.self.value",
    "blks.{}.attention.W_o": "bert.encoder.layer.{}.attention.output.dense",
    "blks.{}.addnorm1.ln": "bert.encoder.layer.{}.attention.output.LayerNorm",
    "blks.{}.ffn.dense1": "bert.encoder.layer.{}.intermediate.dense",
    "blks.{}.ffn.dense2": "bert.encoder.layer.{}.output.dense",
    "blks.{}.addnorm2.ln": "bert.encoder.layer.{}.output.LayerNorm",
}
BERT_MASK_LM = {f"encoder.{ours}": theirs for ours, theirs in BERT.items()} | {
    "mlm.mlp.0": "cls.predictions.transform.dense",
    "mlm.mlp.2": "cls.predictions.transform.LayerNorm",
    "mlm.mlp.3.weight": "cls.predictions.decoder.weight",  # missing where it is the embedding
    "mlm.mlp.3.bias": "cls.predictions.bias",
}
VIT = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embedding": "vit.embeddings.position_embeddings",
    "patch_embedding.conv": "vit.embeddings.patch_embeddings.projection",
    "blks.{}.ln1": "vit.encoder.layer.{}.layernorm_before",
    "blks.{}.attention.W_q": "vit.encoder.layer.{}.attention.attention.query",
    "blks.{}.attention.W_k": "vit.encoder.layer.{}.attention.attention.key",
    "blks.{}.attention.W_v": "vit.encoder.layer.{}.attention.attention.value",
    "blks.{}.attention.W_o": "vit.encoder.layer.{}.attention.output.dense",
    "blks.{}.ln2": "vit.encoder.layer.{}.layernorm_after",
    "blks.{}.mlp.dense1": "vit.encoder.layer.{}.intermediate.dense",
    "blks.{}.mlp.dense2": "vit.encoder.layer.{}.output.dense",
    "head.0": "vit.layernorm",
    "head.1": "classifier",
}
NUMBERS = re.compile(
    r"(?<=blks\.block)\d+|(?<=blks\.)\d+|(?<=\.expert)\d+|(?<=layers\.|xperts\.)\d+|(?<=\.h\.)\d+"
    r"|(?<=\.layer\.)\d+"
)
TRANSPOSED = re.compile(r"\.c_(attn|proj|fc)\.weight$")
NONE = re.compile("(?!)")
GPT2_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}
TIED, EMBEDDING = "mlm.mlp.3.weight", "encoder.token_embedding.weight"


@dataclasses.dataclass(frozen=True)
class Family:
    """A family: its table, and what its files have that others' have not.

    Attributes:
        module: the class here.
        table: ``{canonical name: name there}``.
        prefix: what the names of the model without its head start with.
        options: returns the arguments of the class, of a configuration and the parameters.
        others: finds tensors that the class here has no use for, by names without the prefix.
        apart, joined: change tensors to the shapes here, and back.
    """

    module: str
    table: dict[str, str]
    prefix: str
    options: Callable[[Config, Arrays], Config]
    others: re.Pattern[str] = NONE
    apart: Callable[[Arrays], Arrays] = dict
    joined: Callable[[Arrays], Arrays] = dict

    def is_other(self, name: str) -> bool:
        """Whether a tensor has no place here."""
        return self.others.search(name.removeprefix(self.prefix)) is not None

    def from_theirs(self, arrays: Arrays) -> Arrays:
        """Return tensors under canonical names, with the shapes that they have here."""
        ours = {theirs: name for name, theirs in self.table.items()}
        return {_renamed(name, ours): x for name, x in self.apart(arrays).items()}

    def to_theirs(self, arrays: Arrays) -> Arrays:
        """Undo `from_theirs`."""
        return self.joined({_renamed(name, self.table): x for name, x in arrays.items()})

    def completed(self, parameters: Arrays) -> Arrays:
        """Add what a file leaves out because it is another parameter too."""
        if EMBEDDING in parameters and TIED not in parameters:
            return parameters | {TIED: parameters[EMBEDDING]}
        return parameters


def family(config: Config, names: Iterable[str]) -> Family:
    """Return the family of a model.

    Args:
        config: theirs.
        names: of its tensors, there or here.

    Raises:
        ValueError: there is none.
    """
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"model_type: got {kind!r}, must be one of {', '.join(FAMILIES)}")
    with_words = any(name.startswith(("cls.predictions.", "mlm.")) for name in names)
    return MASK_LM if kind == "bert" and with_words else FAMILIES[kind]


def llama_options(config: Config, parameters: Arrays) -> Config:
    """Return the arguments of `GPT` for Llama, Mistral and Mixtral."""
    hiddens, heads = config["hidden_size"], config["num_attention_heads"]
    experts = config.get("num_local_experts", 0)
    _supports("GPT", config, "hidden_act", "silu", "silu")
    _supports("GPT", config, "rope_scaling", None, None)
    _supports("GPT", config, "mlp_bias", False, False)
    _supports("GPT", config, "head_dim", None, None, hiddens // heads)
    if experts:
        _supports("GPT", config, "num_experts_per_tok", 2, 2)
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
        "tie_weights": "dense.weight" not in parameters,
    }


def gpt2_options(config: Config, parameters: Arrays) -> Config:
    """Return the arguments of `GPT` for GPT-2."""
    _supports("GPT", config, "scale_attn_weights", True, True)
    _supports("GPT", config, "scale_attn_by_inverse_layer_idx", False, False)
    _supports("GPT", config, "add_cross_attention", False, False)
    activation = config.get("activation_function", "gelu_new")
    _supports("GPT", config, "activation_function", activation, *GPT2_ACTIVATIONS)
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
        "tie_weights": "dense.weight" not in parameters,
    }


def bert_options(config: Config, parameters: Arrays) -> Config:
    """Return the arguments of `BERTEncoder` and `BERTMaskLM`."""
    _supports("BERTEncoder", config, "hidden_act", "gelu", "gelu", "relu")
    _supports("BERTEncoder", config, "position_embedding_type", "absolute", "absolute")
    _supports("BERTEncoder", config, "type_vocab_size", 2, 2)
    return {
        "vocab_size": config["vocab_size"],
        "num_hiddens": config["hidden_size"],
        "ffn_num_hiddens": config["intermediate_size"],
        "num_heads": config["num_attention_heads"],
        "num_blks": config["num_hidden_layers"],
        "dropout": config.get("hidden_dropout_prob", 0.1),
        "max_len": config["max_position_embeddings"],
        "activation": config.get("hidden_act", "gelu"),
        "norm_embedding": True,
        "eps": config.get("layer_norm_eps", 1e-12),
    }


def vit_options(config: Config, parameters: Arrays) -> Config:
    """Return the arguments of `ViT`."""
    _supports("ViT", config, "hidden_act", "gelu", "gelu")
    _supports("ViT", config, "qkv_bias", True, True)
    if "head.1.bias" not in parameters:
        raise ValueError("classifier: not among the tensors, `ViT` needs one")
    dropout = config.get("hidden_dropout_prob", 0.0)
    return {
        "img_size": config["image_size"],
        "patch_size": config["patch_size"],
        "num_hiddens": config["hidden_size"],
        "mlp_num_hiddens": config["intermediate_size"],
        "num_heads": config["num_attention_heads"],
        "num_blks": config["num_hidden_layers"],
        "emb_dropout": dropout,
        "blk_dropout": dropout,
        "use_bias": True,
        "num_classes": len(parameters["head.1.bias"]),
        "eps": config.get("layer_norm_eps", 1e-12),
    }


def _supports(module: str, config: Config, option: str, default: Any, *values: Any) -> None:
    """Check that an option has a value that the module has too."""
    value = config.get(option, default)
    if value not in values:
        allowed = ", ".join(map(repr, values))
        raise ValueError(f"{option}: got {value!r}, `{module}` has {allowed} only")


def _renamed(name: str, table: dict[str, str]) -> str:
    """Translate a parameter's name: its module's, or its own where the table has that."""
    module, leaf = name, ""
    if name not in table:
        module, _, leaf = name.rpartition(".")
    template = NUMBERS.sub("{}", module)
    if template not in table:
        raise ValueError(f"{name}: no such parameter is known")
    return table[template].format(*NUMBERS.findall(module)) + ("." + leaf if leaf else "")


def _gpt2_apart(tensors: Arrays) -> Arrays:
    """Give GPT-2's tensors the shapes that parameters have here."""
    apart = {}
    for name, x in tensors.items():
        x = x.T if TRANSPOSED.search(name) else x
        if ".c_attn." in name:
            for part, third in zip("qkv", np.split(x, 3), strict=True):
                apart[name.replace(".c_attn.", f".c_attn.{part}.")] = third
        else:
            apart[name] = x
    return apart


def _gpt2_joined(tensors: Arrays) -> Arrays:
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


BERT_POSITIONS = BERT["pos_embedding"]


def _bert_apart(tensors: Arrays) -> Arrays:
    """Give BERT's positions the axis of the batch, which D2L's have."""
    return tensors | {BERT_POSITIONS: tensors[BERT_POSITIONS][None]}


def _bert_joined(tensors: Arrays) -> Arrays:
    """Undo `_bert_apart`."""
    return tensors | {BERT_POSITIONS: tensors[BERT_POSITIONS][0]}


OLD_MASKS = re.compile(r"\.attn\.(masked_)?bias$")
BESIDE_BERT = re.compile(r"^(pooler\.|embeddings\.position_ids$|cls\.seq_relationship\.)")
_LLAMA = Family("GPT", LLAMA, "model.", llama_options)
_BERT = Family(
    *("BERTEncoder", BERT, "bert.", bert_options, BESIDE_BERT), _bert_apart, _bert_joined
)
MASK_LM = dataclasses.replace(_BERT, module="BERTMaskLM", table=BERT_MASK_LM)
FAMILIES = {
    "gpt2": Family(
        *("GPT", GPT2, "transformer.", gpt2_options, OLD_MASKS), _gpt2_apart, _gpt2_joined
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "bert": _BERT,
    "vit": Family("ViT", VIT, "vit.", vit_options, re.compile(r"^pooler\.")),
}
