"""Bugs to plant in the rows from normalisation to experts; `planted` says how."""

RMS = ("normalization/RMSNorm/",)
LAYER = ("normalization/LayerNorm/",)
ROTATE = ("rotary/rotate/",)
FFN = ("feedforward/FeedForward/",)
EXPERTS = ("moe/MixtureOfExperts/",)
BLOCKWISE = ("blockwise/blockwise_attention/",)
ONLINE = ("blockwise/online_softmax/",)
LINEAR = ("linear/LinearAttention/",)
GROUPED = ("gpt/GroupedQueryAttention/",)
GPT = ("gpt/GPT/",)

# Column: rows of (what is wrong, file, old, new, beginnings of the names of cases).
MODERN = {
    "torch": [
        ("epsilon of the dtype", "normalization", "self.weight, self.eps)", "self.weight)", *RMS),
        ("weight left out", "normalization", "self.weight, self.eps", "None, self.eps", *RMS),
        ("pairs for halves", "rotary", 'halves = layout == "halves"', "halves = False", *ROTATE),
        (
            "turned the other way",
            "rotary",
            "x * cos - y * sin, x * sin + y * cos",
            "x * cos + y * sin, y * cos - x * sin",
            *ROTATE,
        ),
        (
            "angles in single precision",
            "rotary",
            "torch.as_tensor(x, dtype=X.dtype",
            "torch.as_tensor(x.astype('f4'), dtype=X.dtype",
            *ROTATE,
        ),
        ("base left out", "rotary", "X.shape[-1], base)", "X.shape[-1])", *ROTATE),
        (
            "slopes in another order",
            "rotary",
            "alibi_slopes(num_heads)",
            "alibi_slopes(num_heads)[::-1].copy()",
            "rotary/alibi/",
        ),
        (
            "gate and up swapped",
            "feedforward",
            "self.activation(self.gate(X)) * self.up(X)",
            "self.activation(self.up(X)) * self.gate(X)",
            *FFN,
        ),
        (
            "tanh for the error function",
            "feedforward",
            '"gelu": F.gelu',
            '"gelu": partial(F.gelu, approximate="tanh")',
            *FFN,
        ),
        (
            "the higher of equal experts",
            "moe",
            "scores.sort(dim=-1, descending=True, stable=True).indices[..., : self.k]",
            "scores.flip(-1).sort(dim=-1, descending=True, stable=True)"
            ".indices[..., : self.k].mul(-1).add(scores.shape[-1] - 1)",
            *EXPERTS,
        ),
        (
            "shares not normalised",
            "moe",
            "shares / shares.sum(dim=-1, keepdim=True)",
            "shares",
            *EXPERTS,
        ),
        (
            "first share for all",
            "moe",
            "shares[rows, rank, None]",
            "shares[rows, 0, None]",
            *EXPERTS,
        ),
        (
            "how often has a gradient's place",
            "moe",
            "often * mean",
            "often * often",
            "moe/load_balancing_loss/",
        ),
        ("sum not rescaled", "blockwise", "total[..., rows, :] *= scale", "pass", *BLOCKWISE),
        ("output not rescaled", "blockwise", "output[..., rows, :] *= scale", "pass", *BLOCKWISE),
        (
            "running maximum not rescaled",
            "blockwise",
            "total * (top - higher).exp()",
            "total",
            *ONLINE,
        ),
        (
            "a causal block sees one key more",
            "blockwise",
            "steps[:, None] >= torch.arange(start",
            "steps[:, None] + 1 >= torch.arange(start",
            *BLOCKWISE,
        ),
        (
            "gradient without its mean",
            "blockwise",
            "by_weights.sub_(mean[..., rows, :])",
            "by_weights",
            *BLOCKWISE,
        ),
        (
            "a step sees the next",
            "linear",
            "(query @ key.mT).tril()",
            "(query @ key.mT).tril(1)",
            *LINEAR,
        ),
        (
            "chunks forget",
            "linear",
            "output, state = parallel(*chunk, state)",
            "output, _ = parallel(*chunk, state)",
            *LINEAR,
        ),
        (
            "another kernel",
            "linear",
            "X + 1, X.clamp(max=0).exp()",
            "X, X.clamp(max=0).exp()",
            *LINEAR,
        ),
        (
            "tile for repeat of key heads",
            "gpt",
            "X.unflatten(1, (self.num_kv_heads, -1)).flatten",
            "X.unflatten(1, (-1, self.num_kv_heads)).transpose(1, 2).flatten",
            *GROUPED,
        ),
        (
            "scaled by the whole size",
            "gpt",
            "math.sqrt(queries.shape[-1])",
            'math.sqrt(self.config["num_hiddens"])',
            *GROUPED,
        ),
        (
            "keys not rotated",
            "gpt",
            "turn(queries, *rotation), turn(keys, *rotation)",
            "turn(queries, *rotation), keys",
            *GROUPED,
        ),
        (
            "window off by one",
            "caching",
            "(distances >= 0) & ((distances < window)",
            "(distances >= 0) & ((distances <= window)",
            *GROUPED,
        ),
        (
            "sinks evicted",
            "caching",
            "(distances < window) | (keys < num_sinks)",
            "distances < window",
            *GROUPED,
        ),
        (
            "positions start anew",
            "gpt",
            "H, cache = blk(H, cache, position)",
            "H, cache = blk(H, cache, 0)",
            *GPT,
        ),
        (
            "learned positions start anew",
            "gpt",
            "self.pos_embedding(steps)",
            "self.pos_embedding(steps - steps[0])",
            *GPT,
        ),
        (
            "tied weights scaled twice",
            "gpt",
            "F.linear(H, self.embedding.weight)",
            "F.linear(H, self.embedding.weight) / math.sqrt(H.shape[-1])",
            *GPT,
        ),
        ("last normalisation left out", "gpt", "        H = self.norm(H)\n", "", *GPT),
        (
            "rows of the first cache only",
            "gpt",
            "x[..., rows, :, :, :], caches)",
            "x[..., rows, :, :, :], caches[:1]) + caches[1:]",
            *GPT,
        ),
    ],
}
