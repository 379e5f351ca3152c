"""TensorFlow: `keras.layers.MultiHeadAttention`."""

import keras
import tensorflow as tf

from d2l_ext.tensorflow import MultiHeadAttention


def ours(heads, weights):
    """Return forward and backward of `MultiHeadAttention`, compiled, so without weights."""
    layer = MultiHeadAttention(heads.num_hiddens, heads.num_heads, dropout=0)
    X, lens = _inputs(heads)
    return _step(layer, lambda X: layer(X, X, X, lens), X)


def own(heads, weights):
    """Return forward and backward of Keras's layer, padding masked, compiled."""
    size = heads.num_hiddens // heads.num_heads
    layer = keras.layers.MultiHeadAttention(heads.num_heads, size, use_bias=False)
    X, lens = _inputs(heads)
    mask = (tf.range(heads.num_steps) < lens[:, None])[:, None]
    return _step(
        layer, lambda X: layer(X, X, attention_mask=mask, return_attention_scores=weights), X
    )


def _inputs(heads):
    keras.utils.set_random_seed(0)
    shape = heads.batch, heads.num_steps, heads.num_hiddens
    low, high = heads.num_steps // 2, heads.num_steps + 1
    return tf.random.normal(shape), tf.random.uniform(shape[:1], low, high, tf.int32)


def _step(layer, call, X):
    call(X)

    @tf.function
    def gradients(X):
        with tf.GradientTape() as tape:
            tape.watch(X)
            Y = call(X)
            total = tf.reduce_sum(Y[0] if isinstance(Y, tuple) else Y)
        return Y, tape.gradient(total, [X, *layer.trainable_variables])

    return lambda: gradients(X)[1][0].numpy()
