"""What Keras's and TensorFlow's own layers and operators do unless told otherwise.

Nothing of the column is used here: `d2l_ext.agreement.running.differences` puts the four side by
side, with what all columns agree on.
"""

import math

import keras
import numpy as np
import tensorflow as tf


def layer_norm(x):
    """Return the default layer norm of (rows, size)."""
    return keras.layers.LayerNormalization()(x).numpy()


def gelu(x):
    """Return the default GELU."""
    return keras.activations.gelu(tf.convert_to_tensor(x)).numpy()


def softmax(x):
    """Return the softmax over the last axis."""
    return tf.nn.softmax(x).numpy()


def cross_entropy(logits, labels):
    """Return the default loss, reduced or not."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits).numpy()


def adam(gradient, lr):
    """Return by how much Adam's first step moves a parameter."""
    p = keras.Variable(np.zeros(1, "float32"))
    keras.optimizers.Adam(lr).apply([tf.fill([1], gradient)], [p])
    return float(p.numpy()[0])


def clipped(gradient, max_norm):
    """Return a gradient clipped by its global norm."""
    return tf.clip_by_global_norm([tf.convert_to_tensor(gradient)], max_norm)[0][0].numpy()


def dense(num_inputs, num_outputs):
    """Return the initial weight and bias of a dense layer."""
    layer = keras.layers.Dense(num_outputs)
    layer.kernel_initializer = type(layer.kernel_initializer)(seed=0)  # the same every time
    layer.build((1, num_inputs))
    return tuple(w.numpy() for w in layer.weights)


def embedding(vocab_size, size):
    """Return the initial weight of an embedding."""
    layer = keras.layers.Embedding(vocab_size, size)
    layer.embeddings_initializer = type(layer.embeddings_initializer)(seed=0)
    layer.build()
    return layer.weights[0].numpy()


def lookup(token, vocab_size):
    """Return what an embedding with rows 0, 1, 2, ... gives for a token."""
    layer = keras.layers.Embedding(vocab_size, 1)
    layer.build()
    layer.set_weights([np.arange(vocab_size, dtype="float32")[:, None]])
    return layer(np.array([token])).numpy()


def gru(bias):
    """Return the state of one GRU unit after a step without input, from 1/2 and zero weights.

    Args:
        bias: of its gates (3,), in the framework's own order.
    """
    layer = keras.layers.GRU(1)
    layer.build((1, 1, 1))
    layer.set_weights([np.zeros((1, 3)), np.zeros((1, 3)), np.stack([bias, np.zeros(3)])])
    return layer(np.zeros((1, 1, 1)), initial_state=tf.fill([1, 1], 0.5)).numpy().item()


def gru_biases():
    """Return how many biases a GRU unit has."""
    layer = keras.layers.GRU(1)
    layer.build((1, 1, 1))
    return layer.weights[2].numpy().size


def forget_bias():
    """Return the initial bias of an LSTM's forget gate, averaged over 256 units."""
    layer = keras.layers.LSTM(256)
    layer.build((1, 1, 2))
    return float(layer.weights[2].numpy()[256:512].mean())


def rms_norm(x):
    """Return the default RMS norm of (rows, size)."""
    return keras.layers.RMSNormalization()(x).numpy()


def fused(q, k, v, mask=None):
    """Return the fused attention of arrays with four axes, under a mask (queries, keys)."""
    mask = None if mask is None else tf.constant(mask)[None, None]
    return keras.ops.dot_product_attention(q, k, v, mask=mask).numpy()


def attention_layer(x, mask):
    """Return what the attention layer makes of (1, steps, size) under a mask (steps, steps)."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.MultiHeadAttention(1, x.shape[-1])
    return layer(x, x, attention_mask=tf.constant(mask)[None]).numpy()


def convolution(image):
    """Return a default convolution by a kernel of 3 of an image, (1, ?, ?, ?), to two channels."""
    return keras.layers.Conv2D(2, 3)(image).numpy()


def write(x):
    """Write 1 to the first element of an array."""
    x = tf.constant(x)
    x[0] = 1
    return x.numpy()


def limits():
    """Return ``{finding: size}``: what no setting of the framework's own operators mends."""
    return {
        "scale of MultiHeadAttention": _rounded_scale(),
        "global norm with an embedding": _global_norm(),
        "tanh": _tanh(),
    }


def _tanh():
    """Return the largest error of the compiled tanh in float64."""
    x = np.linspace(-20, 20, 4001)
    compiled = tf.function(tf.tanh, jit_compile=True)
    return float(np.abs(compiled(tf.constant(x)).numpy() - np.tanh(x.astype("longdouble"))).max())


def _rounded_scale(size=3):
    """Return how far a float64 layer's 1 / sqrt(size) is from the exact one."""
    layer = keras.layers.MultiHeadAttention(1, size, use_bias=False, dtype="float64")
    layer.build((1, 1, size), (1, 2, size))
    layer.set_weights([np.eye(size).reshape(w.shape) for w in layer.weights])
    query, keys = np.ones((1, 1, size)), np.stack([np.zeros((1, size)), np.ones((1, size))], axis=1)
    _, weights = layer(query, keys, return_attention_scores=True)
    zero, one = weights.numpy().ravel()
    return abs(math.log(one / zero) / math.sqrt(size) - 1)


def _global_norm():
    """Return by how much the norm of an embedding's gradient misses one that repeats a token."""
    embedding = tf.Variable(np.ones((3, 1)))
    with tf.GradientTape() as tape:
        y = 2 * tf.reduce_sum(tf.gather(embedding, [1, 1, 2]))
    gradient = tape.gradient(y, embedding)
    exact = tf.norm(tf.convert_to_tensor(gradient)).numpy()
    return float(abs(tf.linalg.global_norm([gradient]).numpy() / exact - 1))
