"""The vision Transformer: an image as a sequence of patches (Dosovitskiy et al., 2021)."""

import math

import keras
import tensorflow as tf
from jaxtyping import Float, Shaped

from d2l_ext import checks
from d2l_ext.tensorflow.layers import Array, Dropout, Layer, dense, linear, spec
from d2l_ext.tensorflow.multihead import MultiHeadAttention
from d2l_ext.tensorflow.normalization import LayerNorm
from d2l_ext.tensorflow.transformer import gelu


class PatchConvolution(Layer):
    """A convolution whose stride is its width: every patch, as a vector, times one matrix.

    The weight is a convolution's, (num_hiddens, channels, height, width), made at the first call.
    Keras's own has its axes in another order, with the channels last.
    """

    def __init__(self, num_hiddens: int, patch_size: tuple[int, int]):
        super().__init__()
        self.num_hiddens, self.patch_size = num_hiddens, patch_size

    def build(self, X_shape: tuple | tf.TensorShape) -> None:
        """Create weight and bias when the number of channels is known."""
        shape = self.num_hiddens, X_shape[1], *self.patch_size
        # Glorot's; Keras would take the axes for those of its own convolution.
        bound = math.sqrt(6 / (shape[0] + math.prod(shape[1:])))
        initial = keras.initializers.RandomUniform(-bound, bound)
        self.weight = self.add_weight(shape, initial, name="weight")
        self.bias = self.add_weight((self.num_hiddens,), "zeros", name="bias")

    def call(
        self, X: Float[Array, "batch channels height width"]
    ) -> Float[Array, "batch num_patches num_hiddens"]:
        """Map images to one vector per patch, row by row."""
        batch, channels, height, width = keras.ops.shape(X)
        p, q = self.patch_size
        rows, columns = height // p, width // q
        X = tf.reshape(X, (batch, channels, rows, p, columns, q))
        X = tf.transpose(X, (0, 2, 4, 1, 3, 5))  # (batch, rows, columns, channels, p, q)
        X = tf.reshape(X, (batch, rows * columns, channels * p * q))
        matrix = tf.reshape(self.weight, (self.num_hiddens, -1))
        return linear(X, matrix, tf.convert_to_tensor(self.bias))


class PatchEmbedding(Layer):
    """Patches of an image as vectors. Sizes are a number or a pair, (height, width)."""

    def __init__(
        self,
        img_size: int | tuple[int, int] = 96,
        patch_size: int | tuple[int, int] = 16,
        num_hiddens: int = 512,
    ):
        super().__init__()
        self.img_size, patches = checks.patches(img_size, patch_size)
        self.num_patches = (self.img_size[0] // patches[0]) * (self.img_size[1] // patches[1])
        self.conv = PatchConvolution(num_hiddens, patches)

    def call(
        self, X: Float[Array, "batch channels height width"]
    ) -> Float[Array, "batch num_patches num_hiddens"]:
        """Map (batch, channels, height, width) to (batch, num_patches, num_hiddens)."""
        checks.images(spec(X), self.img_size)
        return self.conv(X)


class ViTMLP(Layer):
    """The position-wise network: linear, GELU, linear, with dropout after each."""

    def __init__(self, mlp_num_hiddens: int, mlp_num_outputs: int, dropout: float = 0.5):
        super().__init__()
        self.dense1 = dense(mlp_num_hiddens)
        self.dropout1 = Dropout(dropout)
        self.dense2 = dense(mlp_num_outputs)
        self.dropout2 = Dropout(dropout)

    def call(
        self, X: Float[Array, "*batch size"], training: bool = False
    ) -> Float[Array, "*batch mlp_num_outputs"]:
        """Map (..., size) to (..., mlp_num_outputs)."""
        X = self.dropout1(gelu(self.dense1(X)), training=training)
        return self.dropout2(self.dense2(X), training=training)


class ViTBlock(Layer):
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
        super().__init__()
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

    def call(
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


class ViT(Layer):
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
        super().__init__()
        self.patch_embedding = PatchEmbedding(img_size, patch_size, num_hiddens)
        self.dropout = Dropout(emb_dropout)
        sizes = num_hiddens, num_hiddens, mlp_num_hiddens, num_heads
        self.blks = {str(i): ViTBlock(*sizes, blk_dropout, use_bias, eps) for i in range(num_blks)}
        self.head = {"0": LayerNorm(num_hiddens, eps), "1": dense(num_classes)}

    def build(self) -> None:
        """Create the class's token, zero, and the position embedding, N(0, 1)."""
        size = self.config["num_hiddens"]
        num_steps = self.patch_embedding.num_patches + 1  # with the class's token
        self.cls_token = self.add_weight((1, 1, size), "zeros", name="cls_token")
        initial = keras.initializers.RandomNormal(stddev=1)
        self.pos_embedding = self.add_weight((1, num_steps, size), initial, name="pos_embedding")

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block; step 0 is the class's token."""
        return [blk.attention_weights for blk in self.blks.values()]

    def check(self, X: Float[Array, "batch channels height width"]) -> None:
        """Raise a ValueError where the images do not fit."""
        checks.images(spec(X), self.patch_embedding.img_size)

    def call(
        self, X: Float[Array, "batch channels height width"], training: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Classify images (batch, channels, height, width): logits (batch, num_classes)."""
        self.check(X)
        X = self.patch_embedding(X)
        first = tf.repeat(self.cls_token, keras.ops.shape(X)[0], axis=0)
        X = tf.concat([first, X], axis=1)  # (batch, num_patches + 1, num_hiddens)
        X = self.dropout(X + self.pos_embedding, training=training)
        for blk in self.blks.values():
            X = blk(X, training=training)
        return self.head["1"](self.head["0"](X[:, 0]))
