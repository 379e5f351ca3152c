"""The vision Transformer: an image as a sequence of patches (Dosovitskiy et al., 2021)."""

import numpy as np
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Float, Shaped

from d2l_ext import checks
from d2l_ext.jax.feedforward import gelu
from d2l_ext.jax.layers import (
    GENERATOR,
    Array,
    Dropout,
    LazyLinear,
    Linear,
    Module,
    create,
    numbered,
    parameter,
    product,
    spec,
)
from d2l_ext.jax.multihead import MultiHeadAttention
from d2l_ext.jax.normalization import LayerNorm


class PatchConvolution(Module):
    """A convolution whose stride is its width: every patch, as a vector, times one matrix.

    The weight is a convolution's, (num_hiddens, channels, height, width), made at the first call.
    """

    def __init__(self, num_hiddens: int, patch_size: tuple[int, int]):
        self.num_hiddens, self.patch_size = num_hiddens, patch_size
        self.weight = nnx.data(None)
        self.bias = parameter(np.zeros(num_hiddens))

    def __call__(
        self, X: Float[Array, "batch channels height width"], training: bool = False
    ) -> Float[Array, "batch num_patches num_hiddens"]:
        """Map images to one vector per patch, row by row; nothing depends on ``training``."""
        batch, channels, height, width = X.shape
        create(self, "weight", self.num_hiddens, channels, *self.patch_size)
        p, q = self.patch_size
        X = X.reshape(batch, channels, height // p, p, width // q, q)
        X = X.transpose(0, 2, 4, 1, 3, 5)  # (batch, rows, columns, channels, p, q)
        X = X.reshape(batch, -1, channels * p * q)
        return product(X, self.weight[...].reshape(self.num_hiddens, -1).T) + self.bias[...]


class PatchEmbedding(Module):
    """Patches of an image as vectors. Sizes are a number or a pair, (height, width)."""

    def __init__(
        self,
        img_size: int | tuple[int, int] = 96,
        patch_size: int | tuple[int, int] = 16,
        num_hiddens: int = 512,
    ):
        self.img_size, patches = checks.patches(img_size, patch_size)
        self.num_patches = (self.img_size[0] // patches[0]) * (self.img_size[1] // patches[1])
        self.conv = PatchConvolution(num_hiddens, patches)

    def __call__(
        self, X: Float[Array, "batch channels height width"], training: bool = False
    ) -> Float[Array, "batch num_patches num_hiddens"]:
        """Map (batch, channels, height, width) to (batch, num_patches, num_hiddens)."""
        checks.images(spec(X), self.img_size)
        return self.conv(X)


class ViTMLP(Module):
    """The position-wise network: linear, GELU, linear, with dropout after each."""

    def __init__(self, mlp_num_hiddens: int, mlp_num_outputs: int, dropout: float = 0.5):
        self.dense1 = LazyLinear(mlp_num_hiddens)
        self.dropout1 = Dropout(dropout)
        self.dense2 = Linear(mlp_num_hiddens, mlp_num_outputs)
        self.dropout2 = Dropout(dropout)

    def __call__(
        self, X: Float[Array, "*batch size"], training: bool = False
    ) -> Float[Array, "*batch mlp_num_outputs"]:
        """Map (..., size) to (..., mlp_num_outputs)."""
        X = self.dropout1(gelu(self.dense1(X)), training=training)
        return self.dropout2(self.dense2(X), training=training)


class ViTBlock(Module):
    """Self-attention and a network, each on normalised input and added to it."""

    def __init__(
        self,
        num_hiddens: int,
        norm_shape: int,
        mlp_num_hiddens: int,
        num_heads: int,
        dropout: float,
        use_bias: bool = False,
        eps: float = 1e-5,
    ):
        self.ln1 = LayerNorm(norm_shape, eps)
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout, use_bias)
        self.ln2 = LayerNorm(norm_shape, eps)
        self.mlp = ViTMLP(mlp_num_hiddens, num_hiddens, dropout)

    @property
    def attention_weights(self) -> Float[Array, "batch_heads num_steps num_steps"] | None:
        """Weights of the last call, (batch * num_heads, num_steps, num_steps)."""
        return self.attention.attention_weights

    def check(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        self.attention.check(X, X, X, valid_lens)

    def __call__(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape."""
        self.check(X, valid_lens)
        Y = self.ln1(X)
        X = X + self.attention(Y, Y, Y, valid_lens, training=training)
        return X + self.mlp(self.ln2(X), training=training)


class ViT(Module):
    """Patches and a token for the class, with learned positions; blocks; a head on that token.

    D2L's arguments without its learning rate; ``eps`` is that of all normalisations.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        num_hiddens: int,
        mlp_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        emb_dropout: float,
        blk_dropout: float,
        use_bias: bool = False,
        num_classes: int = 10,
        eps: float = 1e-5,
    ):
        self.patch_embedding = PatchEmbedding(img_size, patch_size, num_hiddens)
        self.cls_token = parameter(np.zeros((1, 1, num_hiddens)))
        num_steps = self.patch_embedding.num_patches + 1  # with the class's token
        positions = GENERATOR.standard_normal((1, num_steps, num_hiddens), np.float32)
        self.pos_embedding = parameter(positions)
        self.dropout = Dropout(emb_dropout)
        sizes = num_hiddens, num_hiddens, mlp_num_hiddens, num_heads
        self.blks = nnx.Dict(
            {str(i): ViTBlock(*sizes, blk_dropout, use_bias, eps) for i in range(num_blks)}
        )
        self.head = nnx.Dict(
            {"0": LayerNorm(num_hiddens, eps), "1": Linear(num_hiddens, num_classes)}
        )

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block; step 0 is the class's token."""
        return [blk.attention_weights for blk in numbered(self.blks)]

    def check(self, X: Float[Array, "batch channels height width"]) -> None:
        """Raise a ValueError where the images do not fit."""
        checks.images(spec(X), self.patch_embedding.img_size)

    def __call__(
        self, X: Float[Array, "batch channels height width"], training: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Classify images (batch, channels, height, width): logits (batch, num_classes)."""
        self.check(X)
        X = self.patch_embedding(X)
        first = jnp.broadcast_to(self.cls_token[...], (len(X), *self.cls_token.shape[1:]))
        X = jnp.concatenate([first, X], axis=1)  # (batch, num_patches + 1, num_hiddens)
        X = self.dropout(X + self.pos_embedding[...], training=training)
        for blk in numbered(self.blks):
            X = blk(X, training=training)
        return self.head["1"](self.head["0"](X[:, 0]))
