"""The families of Hugging Face's transformers that have TensorFlow or Flax models, made small."""

from typing import Any

# What a configuration has of these is set; a configuration knows its own other names of them.
SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "decoder_vocab_size": 50,
    "hidden_size": 16,
    "d_model": 16,
    "n_embd": 16,
    "dim": 16,
    "embedding_size": 16,
    "word_embed_proj_dim": 16,
    "input_embedding_size": 12,
    "num_hidden_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_attention_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "attention_heads": 4,
    "num_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_key_value_heads": 4,
    "d_kv": 4,
    "head_dim": 4,
    "d_head": 4,
    "intermediate_size": 24,
    "hidden_dim": 24,
    "d_ff": 24,
    "d_inner": 24,
    "dff": 24,
    "n_inner": 24,
    "ffn_dim": 24,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 32,
    "n_positions": 32,
    "sliding_window": None,
    "rotary_dim": 4,
    "image_size": 16,
    "patch_size": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "qkv_bias": True,
    "max_source_positions": 16,
    "max_target_positions": 32,
    "num_mel_bins": 8,
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "layer_norm_eps": 1e-5,
}
ONLY: dict[str, dict[str, Any]] = {
    "distilbert": {"embedding_size": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 256},
    "mpnet": {"pad_token_id": 1, "bos_token_id": 0},
    "roberta": {"max_position_embeddings": 34, "pad_token_id": 1, "bos_token_id": 0},
    "xlm-roberta": {"max_position_embeddings": 34, "pad_token_id": 1, "bos_token_id": 0},
    "camembert": {"max_position_embeddings": 34, "pad_token_id": 1, "bos_token_id": 0},
    "roberta-prelayernorm": {"max_position_embeddings": 34, "pad_token_id": 1, "bos_token_id": 0},
    "esm": {"mask_token_id": 3, "token_dropout": False, "emb_layer_norm_before": False},
    "regnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 2],
        "groups_width": 8,
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "patch_size": 2},
    "swin": {
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "num_layers": 1,
        "window_size": 2,
        "patch_size": 2,
    },
    "wav2vec2": {
        "conv_dim": [8, 8],
        "conv_stride": [3, 2],
        "conv_kernel": [5, 3],
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "num_feat_extract_layers": 2,
    },
    "clip": {
        "text_config": {
            "vocab_size": 50,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 32,
            "projection_dim": 8,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 16,
            "patch_size": 4,
            "projection_dim": 8,
        },
        "projection_dim": 8,
    },
    "mobilebert": {
        "intra_bottleneck_size": 8,
        "true_hidden_size": 8,
        "num_feedforward_networks": 2,
    },
}
TEXT = (
    *("albert", "bert", "camembert", "convbert", "deberta", "distilbert", "electra", "esm"),
    *("mobilebert", "mpnet", "rembert", "roberta", "roberta-prelayernorm", "roformer"),
    *("xlm-roberta", "big_bird"),
)
CAUSAL = (
    *("bloom", "ctrl", "gemma", "gpt-sw3", "gpt2", "gpt_neo", "gptj", "llama", "mistral"),
    *("openai-gpt", "opt", "xglm", "xlnet"),
)
PAIRS = (
    *("bart", "blenderbot", "blenderbot-small", "marian", "mbart", "mt5", "pegasus", "t5"),
    "longt5",
)
IMAGES = ("beit", "convnext", "deit", "dinov2", "regnet", "resnet", "swin", "vit")
AUDIO = ("wav2vec2", "whisper")
BOTH = ("clip",)  # texts and images
FAMILIES = (*TEXT, *CAUSAL, *PAIRS, *IMAGES, *AUDIO, *BOTH)

# Options of configurations at their other values.
ACTIVATIONS = ("gelu_new", "quick_gelu", "relu")
OPTIONS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("hidden_act", "activation_function", "activation", "afn"), ACTIVATIONS),
    "ff_activation": ("gelu_new", "relu", "silu"),
    "pooler_act": ("relu",),
    "hidden_activation": ("gelu", "gelu_pytorch_tanh", "relu"),
    "feed_forward_proj": ("relu", "gated-gelu", "gated-silu"),
    "position_embedding_type": ("relative_key", "relative_key_query"),
    "layer_norm_eps": (0.1,),
    "layer_norm_epsilon": (0.1,),
    "rms_norm_eps": (0.1,),
    "embedding_size": (12,),
    "word_embed_proj_dim": (12,),
    "num_hidden_groups": (2,),
    "inner_group_num": (2,),
    "head_dim": (8,),
    "d_kv": (6,),
    "num_key_value_heads": (2, 1),
    "num_decoder_layers": (3,),
    "decoder_layers": (3,),
    "rotary_dim": (2, None),
    "rope_theta": (100.0,),
    "rope_scaling": (
        {"rope_type": "linear", "factor": 2.0},
        {"rope_type": "dynamic", "factor": 2.0},
    ),
    "sliding_window": (4,),
    "window_size": (2,),
    "relative_attention_num_buckets": (4, 9),
    "relative_attention_max_distance": (3,),
    "attn_type": ("uni",),
    "mem_len": (0,),
    "layer_type": ("basic", "x"),
    "feat_extract_norm": ("layer",),
    "layer_scale_init_value": (0.0,),
    "mlp_ratio": (2,),
    "patch_size": (8,),
    "image_size": (20,),
    "pad_token_id": (3, None),
    "type_vocab_size": (1,),
    "decoder_start_token_id": (5,),
    "conv_kernel_size": (3,),
    "head_ratio": (1,),
    "num_groups": (2,),
    "normalization_type": ("layer_norm",),
    "pos_att_type": (["c2p", "p2c"],),
    "is_decoder": (True,),
}
# Boolean options that change what a model computes; they are turned over.
SWITCHES = (
    *("scale_embedding", "scale_attn_weights", "scale_attn_by_inverse_layer_idx"),
    *("reorder_and_upcast_attn", "rotary_value", "sinusoidal_pos_embds", "do_layer_norm_before"),
    *("enable_bias", "layer_norm_elementwise_affine", "_remove_final_layer_norm", "qkv_bias"),
    *("share_encoder_decoder_embeddings", "attention_bias", "mlp_bias", "trigram_input"),
    *("apply_residual_connection_post_layernorm", "use_bottleneck", "use_bottleneck_attention"),
    *("key_query_shared_bottleneck", "relative_attention", "position_biased_input", "bi_data"),
    *("same_length", "untie_r", "use_absolute_position_embeddings", "use_relative_position_bias"),
    *("use_shared_relative_position_bias", "use_mean_pooling", "use_swiglu_ffn", "conv_bias"),
    *("use_absolute_embeddings", "downsample_in_first_stage", "downsample_in_bottleneck"),
    *("do_stable_layer_norm", "add_adapter", "emb_layer_norm_before", "token_dropout"),
)


def options(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """List the options of a configuration at their other values, one at a time."""
    found = [
        {name: value}
        for name, values in OPTIONS.items()
        if name in settings
        for value in values
        if settings[name] != value
    ]
    switches = [name for name in SWITCHES if name in settings]
    return found + [{name: not settings[name]} for name in switches]
