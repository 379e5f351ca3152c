"""The vision Transformer: an image as a sequence of patches (Dosovitskiy et al., 2021)."""

from jaxtyping import Float, Shaped
from mxnet import init
from mxnet import np as mnp
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, Dropout, blocks, gelu, spec
from d2l_ext.mxnet.multihead import MultiHeadAttention
from d2l_ext.mxnet.normalization import LayerNorm


class PatchEmbedding(Configured, nn.Block):
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
        self.conv = nn.Conv2D(num_hiddens, patches, strides=patches)

    def forward(
        self, X: Float[Array, "batch channels height width"]
    ) -> Float[Array, "batch num_patches num_hiddens"]:
        """Map (batch, channels, height, width) to (batch, num_patches, num_hiddens)."""
        checks.images(spec(X), self.img_size)
        Y = self.conv(X)  # (batch, num_hiddens, rows, columns)
        return Y.reshape(*Y.shape[:2], -1).swapaxes(1, 2)


class ViTMLP(Configured, nn.Block):
    """The position-wise network: linear, GELU, linear, with dropout after each."""

    def __init__(self, mlp_num_hiddens: int, mlp_num_outputs: int, dropout: float = 0.5):
        super().__init__()
        self.dense1 = nn.Dense(mlp_num_hiddens, flatten=False)
        self.dropout1 = Dropout(dropout)
        self.dense2 = nn.Dense(mlp_num_outputs, flatten=False, in_units=mlp_num_hiddens)
        self.dropout2 = Dropout(dropout)

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch mlp_num_outputs"]:
        """Map (..., size) to (..., mlp_num_outputs)."""
        return self.dropout2(self.dense2(self.dropout1(gelu(self.dense1(X)))))


class ViTBlock(Configured, nn.Block):
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

    def forward(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape."""
        self.check(X, valid_lens)
        Y = self.ln1(X)
        X = X + self.attention(Y, Y, Y, valid_lens)
        return X + self.mlp(self.ln2(X))


class ViT(Configured, nn.Block):
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
        self.cls_token = self.params.get("cls_token", shape=(1, 1, num_hiddens), init="zeros")
        num_steps = self.patch_embedding.num_patches + 1  # with the class's token
        self.pos_embedding = self.params.get(
            "pos_embedding", shape=(1, num_steps, num_hiddens), init=init.Normal(1)
        )
        self.dropout = Dropout(emb_dropout)
        sizes = num_hiddens, num_hiddens, mlp_num_hiddens, num_heads
        options = blk_dropout, use_bias, eps
        self.blks = blocks((ViTBlock(*sizes, *options) for _ in range(num_blks)), name="")
        head = [LayerNorm(num_hiddens, eps), nn.Dense(num_classes, in_units=num_hiddens)]
        self.head = blocks(head, name="")

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block; step 0 is the class's token."""
        return [blk.attention_weights for blk in self.blks]

    def check(self, X: Float[Array, "batch channels height width"]) -> None:
        """Raise a ValueError where the images do not fit."""
        checks.images(spec(X), self.patch_embedding.img_size)

    def forward(
        self, X: Float[Array, "batch channels height width"]
    ) -> Float[Array, "batch num_classes"]:
        """Classify images (batch, channels, height, width): logits (batch, num_classes)."""
        self.check(X)
        X = self.patch_embedding(X)
        first = mnp.broadcast_to(self.cls_token.data(), (X.shape[0], 1, X.shape[2]))
        X = mnp.concatenate([first, X], axis=1)  # (batch, num_patches + 1, num_hiddens)
        X = self.dropout(X + self.pos_embedding.data())
        for blk in self.blks:
            X = blk(X)
        return self.head(X[:, 0])
