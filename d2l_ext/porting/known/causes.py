"""The names of the known differences, and a sentence for somebody who meets one."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cause:
    """A known difference that makes the two sides equal.

    Attributes:
        name: its name.
        explanation: what each side does, and a sentence about it.
        error: what is left of the error under it.
    """

    name: str
    explanation: str
    error: float


BETAS = ("Adam's betas", "Most take 0.9 and 0.999, large language models 0.9 and 0.95.")
# By option or relation.
CAUSES: dict[str, tuple[str, str]] = {
    "epsilon": (
        "layer-norm epsilon",
        "The default is 1e-5 in PyTorch and MXNet, 1e-6 in Flax and 1e-3 in Keras; BERT's is"
        " 1e-12.",
    ),
    "variance": (
        "layer-norm variance",
        "Layer norms divide the sum of squares by n; `std` of PyTorch divides by n - 1.",
    ),
    "rms_epsilon": (
        "RMS-norm epsilon",
        "Models choose 1e-5 (Llama), 1e-6 (T5, Mistral, Flax), 1e-8 and others.",
    ),
    "rms_weight": (
        "RMS-norm weight",
        "Gemma multiplies by 1 + weight, most others by the weight.",
    ),
    "kernel": (
        "transposed kernel",
        "PyTorch and MXNet keep a dense weight as (outputs, inputs), Flax and Keras as"
        " (inputs, outputs); a square one fits both ways.",
    ),
    "bias": ("missing bias", "One side adds a bias (not zero) that the other does not have."),
    "norm_bias": ("missing bias", "One side adds a bias (not zero) that the other does not have."),
    "embedding_scale": (
        "embedding scale sqrt(d)",
        "A Transformer multiplies embeddings by the square root of their size (Vaswani et al.,"
        " 2017, section 3.4).",
    ),
    "ids": ("token ids off by one", "One side looks up the next or the previous row of the table."),
    "gru_gates": (
        "GRU gate order",
        "PyTorch, MXNet and NNX stack a GRU's gates as r, z, n; Keras as z, r, h; Linen has a layer"
        " for each.",
    ),
    "reset": (
        "GRU reset gate",
        "cuDNN, PyTorch, MXNet, Flax and Keras's `reset_after=True` apply the reset gate after the"
        " product with the hidden state; Cho et al. (2014) and `reset_after=False` before it.",
    ),
    "update": (
        "GRU update gate",
        "The frameworks keep z of the old state; some papers and books keep 1 - z of it.",
    ),
    "lstm_gates": (
        "LSTM gate order",
        "PyTorch, MXNet and Keras stack an LSTM's gates as i, f, g, o (Keras calls g c); others as"
        " i, f, o, g or i, g, f, o; Flax has a layer for each.",
    ),
    "forget_bias": (
        "LSTM forget bias",
        "Keras starts the forget gate's bias at 1; other code adds 1 in every step.",
    ),
    "recurrent_bias": (
        "missing recurrent bias",
        "PyTorch and MXNet have two biases, for the input's part and the hidden state's; Flax and"
        " Keras have other ones. They may be added up, except on a GRU's n.",
    ),
    "hidden_bias": (
        "missing recurrent bias",
        "Linen's GRU has the hidden state's bias on n only, NNX's on no gate: for r and z, the two"
        " biases of PyTorch and MXNet are to be added up.",
    ),
    "recurrent_kernel": (
        "transposed kernel",
        "Keras and Flax keep recurrent kernels as (inputs, units), PyTorch and MXNet the other way"
        " round; a square one fits both ways.",
    ),
    "layout": (
        "batch first or time first",
        "Recurrent layers take time first in PyTorch and MXNet (unless told otherwise) and the"
        " batch first in Keras and Flax.",
    ),
    "steps": (
        "padding not masked",
        "One side goes on through the padding, the other stops at each sequence's valid length.",
    ),
    "direction": ("direction of time", "One side reads the sequence from its end."),
    "activation": (
        "activation",
        "The two sides apply different functions.",
    ),
    "gelu": (
        "GELU form",
        "PyTorch, MXNet and Keras compute GELU with the error function by default, Flax its tanh"
        " approximation: GELU(1) is 0.84134 or 0.84119.",
    ),
    "gate": (
        "gate and value exchanged",
        "A gated network applies its function to one of two products, which files keep in either"
        " order.",
    ),
    "softmax_axis": ("softmax axis", "One side normalises along another axis."),
    "attention_axis": ("softmax axis", "One side normalises the scores along another axis."),
    "attention_scale": (
        "attention scale 1 / sqrt(d)",
        "Scaled dot-product attention divides scores by the square root of a head's size.",
    ),
    "mask": (
        "padding not masked",
        "One side attends to keys that the valid lengths or the mask leave out.",
    ),
    "polarity": (
        "mask polarity",
        "True means attend in Flax, Keras and `scaled_dot_product_attention`, and leave out in"
        " PyTorch's `nn.MultiheadAttention` and `key_padding_mask`.",
    ),
    "causal": ("causal mask", "One side lets a step attend to later steps."),
    "window": (
        "attention window",
        "A window of n counts the token itself in some code and not in other; some has none.",
    ),
    "rotary": (
        "rotary positions",
        "Llama and its kin turn the first half with the second, the RoFormer paper each number with"
        " the next; or one side does not turn at all.",
    ),
    "position_bias": (
        "position bias missing",
        "T5 and its kin add a learned number to each score, by the distance of query and key.",
    ),
    "direction_of_bias": (
        "position bias of both directions",
        "T5's encoder tells keys before a query from those after it; its decoder has all its"
        " buckets for those before.",
    ),
    "empty_row": (
        "a row with no key",
        "The softmax of a row of -inf is NaN; of a large negative number, the same weight for all.",
    ),
    "masking": (
        "mask after the softmax",
        "Masked weights must be left out of the sum that normalises the others.",
    ),
    "position": (
        "position offset",
        "One side counts positions from 0 and the other from 1 or 2; or one, which has a cache,"
        " counts the steps before it wrongly.",
    ),
    "positions": ("positional encoding missing", "One side adds no encoding of positions."),
    "token_types": (
        "token types",
        "Where none are given, most code takes 0 for all; some takes 1, or adds nothing.",
    ),
    "sinusoids": (
        "order of sine and cosine",
        "The encoding's sines and cosines stand in turn, or all sines before all cosines.",
    ),
    "mean": ("padding not masked", "One side's mean counts padding."),
    "padding": (
        "padding not masked",
        "One side is zero after the end of each sequence and the other is not.",
    ),
    "loss_reduction": (
        "loss reduction",
        "A mean over what is counted, a sum, or each loss by itself.",
    ),
    "loss_padding": (
        "padding counted in the loss",
        "PyTorch leaves out the label -100; other code a label of padding, or nothing.",
    ),
    "dropout": (
        "dropout left on",
        "PyTorch drops after `.train()`, MXNet inside `autograd.record()`, Flax with"
        " `deterministic=False`, Keras with `training=True`.",
    ),
    "scale": ("scale", "One side is the other times a constant."),
    "parameters": (
        "other parameter values",
        "They were not copied, or turned into something that is none of the known differences.",
    ),
    "limit": (
        "float32 inside an operator",
        "The error is of the size of float32's rounding: an operator computes in float32 or has"
        " constants in float32 inside, such as MXNet's layer norm, TensorFlow's GELU and JAX's"
        " attention.",
    ),
    "precision": (
        "float32 for float64",
        "Keras casts to its policy's dtype and JAX to float32 (unless x64 is on), without a word.",
    ),
    "island": (
        "float32 island missing",
        "The errors are as large as those of the formula with every operation rounded. Norms, the"
        " softmax and losses are computed in float32 inside and rounded once, at their end.",
    ),
    "overflow": (
        "overflow",
        "Not finite, where the trusted model is finite: float16 ends at 65504, so masks, scores"
        " before the maximum is taken off, and sums of squares have to be kept smaller or wider.",
    ),
    "unknown": (
        "unknown",
        "None of the known differences makes the two sides equal here.",
    ),
    "not finite": (
        "gradient not finite",
        "A `where` that takes the other branch still differentiates this one: what is not finite"
        " must be replaced before it, not after.",
    ),
    "stopped": (
        "gradient stopped",
        "One side has no gradient here: `detach` or `no_grad` in PyTorch and MXNet, `stop_gradient`"
        " in JAX and TensorFlow, or a way through NumPy.",
    ),
    "tied": (
        "tied weights counted once",
        "The weights are used in more than one place and have the sum of the gradients from all of"
        " them; one side has a copy here.",
    ),
    "straight through": (
        "straight-through gradient",
        "One side gives the gradient on unchanged, as code that rounds does on purpose.",
    ),
    "dropout mask": (
        "dropout mask not reused",
        "What was dropped on the way forward must be dropped on the way back: code that computes a"
        " layer again needs the same random numbers.",
    ),
    "gradient scale": (
        "scaled gradient",
        "Values are the same and gradients a constant factor apart: a mean for a sum, a scale that"
        " is not differentiated, a reversal.",
    ),
    "custom gradient": (
        "custom gradient",
        "The gradient is not that of the values: moving the inputs a little changes the outputs by"
        " something else.",
    ),
    "not updated": (
        "parameter not in the optimiser",
        "An optimiser moves what it was given: layers that came later, or lists that hide them, are"
        " not among it.",
    ),
    "adam_epsilon": (
        "Adam's epsilon",
        "The default is 1e-8 in PyTorch, MXNet and Optax, and 1e-7 in Keras.",
    ),
    "root": (
        "place of Adam's epsilon",
        "PyTorch and Optax add it to the square root of the corrected average; Keras and MXNet, as"
        " the paper's faster form, to that of the average before its correction; `eps_root` of"
        " Optax is inside the root.",
    ),
    "correction": (
        "bias correction missing",
        "The averages start at zero, and Adam divides them by 1 - beta^t; BERT's first code did"
        " not.",
    ),
    "first_beta": BETAS,
    "second_beta": BETAS,
    "coupled": (
        "weight decay",
        "Added to the gradient it is an L2 penalty, which Adam divides by the root as well"
        " (PyTorch's `Adam`, MXNet's `wd`); AdamW takes it from the weights. PyTorch's AdamW has"
        " 0.01 unless told otherwise, Keras's 0.004, Optax's 0.0001. Often norms and biases are"
        " left out.",
    ),
    "rate": ("learning rate", "The rates are not the same in these steps; a schedule may be one."),
    "momentum": ("momentum", "SGD has none unless told otherwise."),
    "nesterov": ("Nesterov's momentum", "One side looks ahead, the other does not."),
    "dampening": ("dampening", "The gradient enters the average as it is, or times 1 - momentum."),
}
