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
    "big_bird": {"attention_type": "original_full"},  # the other draws blocks at random
    "mistral": {"sliding_window": 64},  # Flax's takes none for one of 1, which would hide the rest
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
        "feat_extract_norm": "layer",  # Flax's has no other
        "do_stable_layer_norm": True,
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
# Families that are made of two others, which settings may exchange: ``encoder="roberta"``. What
# belongs to one of the two has its name before it: ``{"encoder.hidden_size": 12}``.
PARTS: dict[str, dict[str, str]] = {
    "encoder-decoder": {"encoder": "bert", "decoder": "bert"},
    "vision-encoder-decoder": {"encoder": "vit", "decoder": "gpt2"},
    "vision-text-dual-encoder": {"vision": "vit", "text": "bert"},
}
FAMILIES = (*TEXT, *CAUSAL, *PAIRS, *IMAGES, *AUDIO, *BOTH, *PARTS)
DECODED = (*PAIRS, "encoder-decoder", "vision-encoder-decoder")
SEEING_ONLY = (*IMAGES, "vision-encoder-decoder")
SEEING = (*SEEING_ONLY, *BOTH, "vision-text-dual-encoder")
# Which of transformers' classes has a family's head that guesses words; others have none.
HEADS: dict[str, str] = {
    **dict.fromkeys(TEXT, "ForMaskedLM"),
    **dict.fromkeys(CAUSAL, "ForCausalLM"),
    **dict.fromkeys((*PAIRS, "encoder-decoder"), "ForSeq2SeqLM"),
    "vision-encoder-decoder": "ForVision2Seq",
    "whisper": "ForSpeechSeq2Seq",
}

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
    "sliding_window": (4, None),
    "window_size": (2,),
    "relative_attention_num_buckets": (4, 9),
    "relative_attention_max_distance": (3,),
    "attn_type": ("uni",),
    "mem_len": (0,),
    "layer_type": ("basic", "x"),
    "feat_extract_norm": ("group",),
    "layer_scale_init_value": (0.0,),
    "mlp_ratio": (2,),
    "patch_size": (8,),
    "image_size": (20,),
    "pad_token_id": (3, None),
    "type_vocab_size": (1,),
    "conv_kernel_size": (3,),
    "head_ratio": (1,),
    "num_groups": (2,),
    "normalization_type": ("layer_norm",),
    "pos_att_type": (["c2p", "p2c"],),
    "is_decoder": (True,),
    "tie_encoder_decoder": (True,),
    "decoder_start_token_id": (5,),
    "output_embedding_size": (20,),
    "num_channels": (1,),
    "pooler_output_size": (8,),
    "clamp_len": (2,),
    "feat_extract_activation": ("relu",),
    "num_conv_pos_embeddings": (3,),
    "num_conv_pos_embedding_groups": (4,),
    "local_radius": (3,),
    "depths": ([1, 1],),
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
    *("do_stable_layer_norm", "add_adapter", "emb_layer_norm_before", "token_dropout", "use_bias"),
    *("rescale_embeddings", "legacy", "tie_word_embeddings"),
)
# What an option shows in, where that is not the hidden states.
SHOWN_BY = {
    **dict.fromkeys(("tie_word_embeddings", "output_embedding_size", "legacy"), "logits"),
    "decoder_start_token_id": "loss",
}
# What only shows together.
TOGETHER: dict[str, tuple[dict[str, Any], ...]] = {
    "clip": tuple(
        {"text_config": ONLY["clip"]["text_config"] | option}
        for option in ({"eos_token_id": 47}, {"hidden_act": "gelu"}, {"layer_norm_eps": 0.1})
    ),
    "deberta": (
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
        {"relative_attention": True, "pos_att_type": ["p2c"], "max_relative_positions": 3},
    ),
    "distilbert": ({"sinusoidal_pos_embds": True, "activation": "relu"},),
    "esm": ({"position_embedding_type": "rotary"}, {"token_dropout": True, "mask_token_id": 47}),
    "longt5": ({"encoder_attention_type": "transient-global", "global_block_size": 4},),
    "wav2vec2": ({"feat_extract_norm": "group", "do_stable_layer_norm": False},),
    "encoder-decoder": (
        *({"encoder": name} for name in ("roberta", "xlm-roberta", "albert", "electra")),
        *({"encoder": name} for name in ("distilbert", "roformer", "camembert", "mpnet")),
        *({"decoder": name} for name in ("gpt2", "roberta", "electra", "xlm-roberta", "camembert")),
        *({"decoder": name} for name in ("roformer", "rembert", "roberta-prelayernorm", "bart")),
        *({f"{part}.hidden_size": 12} for part in ("encoder", "decoder")),
        {"decoder.num_hidden_layers": 3},
        {"decoder.tie_word_embeddings": False},
        {"tie_encoder_decoder": True},
        {"decoder_start_token_id": 0},
    ),
    "vision-encoder-decoder": (
        *({"encoder": name} for name in ("deit", "beit", "swin", "clip_vision_model")),
        *({"decoder": name} for name in ("bert", "roberta", "bart")),
        {"encoder.hidden_size": 12},
        {"decoder.n_embd": 12},
        {"decoder.tie_word_embeddings": False},
        {"decoder_start_token_id": 0},
    ),
    "vision-text-dual-encoder": (
        *({"vision": name} for name in ("clip_vision_model", "beit", "deit", "swin", "convnext")),
        *({"text": name} for name in ("roberta", "xlm-roberta", "albert", "camembert")),
        {"vision.hidden_size": 12},
        {"text.hidden_size": 12},
        {"projection_dim": 12},
        {"logit_scale_init_value": 1.0},
    ),
}
# Options that change what PyTorch computes, and why they are not tried.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "of heads that are not run": (
        *("add_fpn", "auxiliary_channels", "auxiliary_concat_input", "auxiliary_loss_weight"),
        *("auxiliary_num_convs", "classifier_activation", "classifier_proj_size", "out_indices"),
        *("codevector_dim", "contrastive_logits_temperature", "diversity_loss_weight"),
        *("ctc_loss_reduction", "ctc_zero_infinity", "encoder_stride", "end_n_top", "start_n_top"),
        *("esmfold_config", "finetuning_task", "id2label", "num_codevector_groups"),
        *("num_codevectors_per_group", "num_negatives", "pool_scales", "pooler_hidden_act"),
        *(
            "pooler_hidden_size",
            "problem_type",
            "proj_codevector_dim",
            "semantic_loss_ignore_index",
        ),
        *("summary_activation", "summary_proj_to_labels", "summary_type", "summary_use_proj"),
        *("tdnn_dilation", "tdnn_dim", "tdnn_kernel", "use_auxiliary_head", "xvector_output_dim"),
        *("use_weighted_layer_sum", "apply_layernorm", "reshape_hidden_states", "vocab_list"),
    ),
    "of training, or of weights that are drawn": (
        *("activation_dropout", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop"),
        *("classifier_dropout", "classifier_dropout_prob", "decoder_layerdrop", "drop_path_rate"),
        *("dropout", "dropout_rate", "embd_pdrop", "embed_dropout", "encoder_layerdrop"),
        *("feat_proj_dropout", "feat_quantizer_dropout", "final_dropout", "hidden_dropout"),
        *("hidden_dropout_prob", "init_std", "initializer_factor", "initializer_range"),
        *("layerdrop", "layerscale_value", "mask_feature_length", "mask_feature_min_masks"),
        *("mask_feature_prob", "mask_time_length", "mask_time_min_masks", "pooler_dropout"),
        *("qa_dropout", "resid_dropout", "resid_pdrop", "seq_classif_dropout", "use_mask_token"),
        *("summary_first_dropout", "summary_last_dropout", "use_mems_train"),
    ),
    "the same values in another order, or more of them": (
        *("_name_or_path", "chunk_size_feed_forward", "output_attentions", "output_hidden_states"),
        *("pretraining_tp", "slow_but_exact", "use_cache", "use_mems_eval", "reuse_len"),
        *("model_type", "return_dict"),
    ),
    "sizes, which are set already": (
        *("adapter_attn_dim", "adapter_kernel_size", "adapter_stride", "conv_dim", "conv_kernel"),
        *("conv_stride", "embed_dim", "groups_width", "hidden_sizes", "intra_bottleneck_size"),
        *("num_adapter_layers", "num_feat_extract_layers", "num_feedforward_networks"),
        *("num_stages", "output_hidden_size", "true_hidden_size"),
    ),
    "follow from others": (
        *("attention_layers", "dense_act_fn", "is_encoder_decoder", "is_gated_act"),
        *("text_config", "vision_config", "add_cross_attention"),  # those of encoder-decoder
        "cross_attention_hidden_size",  # the encoder's, and none of the decoders reads it
    ),
    "drawn at random": ("attention_type", "block_size", "num_random_blocks", "sep_token_id"),
}


def options(family: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """List the options of a family's configuration at their other values, one at a time.

    Args:
        family: whose.
        settings: of the configuration, as it is.
    """
    if family in PARTS:
        return list(TOGETHER[family])
    found = [
        {name: value}
        for name, values in OPTIONS.items()
        if name in settings
        for value in values
        if settings[name] != value
    ]
    found += [{name: not settings[name]} for name in SWITCHES if name in settings]
    shown = [one for one in found if _shows(family, next(iter(one)))]
    return shown + list(TOGETHER.get(family, ()))


def _shows(family: str, name: str) -> bool:
    """Whether a family has what an option shows in."""
    if name == "tie_encoder_decoder" or SHOWN_BY.get(name) == "loss":
        return family in DECODED
    return name not in SHOWN_BY or family in HEADS
