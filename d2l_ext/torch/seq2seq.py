"""Sequence to sequence: encoders, decoders without attention, and the masked loss."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import nn
from torch.nn import functional as F

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.torch.layers import Array, spec, widened
from d2l_ext.torch.recurrent import GRU, LSTM, BidirectionalGRUStack, HiddenState


class Encoder(Configured, nn.Module):
    """Base class: maps source ids, and their valid lengths, to what the decoder starts from."""

    def check(
        self, X: Int[Array, "batch num_steps"], valid_lens: Shaped[Array, " batch"] | None = None
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.encoder_inputs(spec(X), spec(valid_lens), self.config["vocab_size"])

    def forward(
        self, X: Int[Array, "batch num_steps"], valid_lens: Shaped[Array, " batch"] | None = None
    ) -> tuple | Float[Array, "batch num_steps num_hiddens"]:
        """Encode ids (batch, num_steps)."""
        raise NotImplementedError


class Decoder(Configured, nn.Module):
    """Base class: maps target ids and a state to logits and the new state."""

    def check(self, X: Int[Array, "batch num_steps"], state: list) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.decoder_inputs(spec(X), self.batch_size(state), self.config["vocab_size"])

    def batch_size(self, state: list) -> int:
        """Return the number of sentences of a state."""
        return state[0].shape[1]  # the encoder's outputs, (num_steps, batch, num_hiddens)

    def init_state(
        self,
        enc_all_outputs: tuple | Float[Array, "batch num_keys num_hiddens"],
        enc_valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> list:
        """Return the state that decoding starts from; opaque to callers."""
        raise NotImplementedError

    def forward(
        self, X: Int[Array, "batch num_steps"], state: list
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Map ids (batch, num_steps) to logits (batch, num_steps, vocab_size) and a new state."""
        raise NotImplementedError

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch (repeated or left out), for beam search."""
        raise NotImplementedError

    def reserve(self, state: list, num_steps: int, least: int = 0) -> list:
        """Return the state with room for so many more steps, so that none copies those before it.

        By default nothing grows with the steps, or what grows is copied: the state stays as it is.
        """
        return state


class EncoderDecoder(Configured, nn.Module):
    """An encoder and a decoder, trained together."""

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def check(
        self,
        enc_X: Int[Array, "batch source_steps"],
        dec_X: Int[Array, "batch num_steps"],
        enc_valid_lens: Shaped[Array, " batch"] | None = None,
        teacher_forcing: Bool[Array, " num_steps"] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        self.encoder.check(enc_X, enc_valid_lens)
        checks.encoder_decoder_inputs(spec(enc_X), spec(dec_X), spec(teacher_forcing))
        checks.tokens("dec_X", spec(dec_X), self.decoder.config["vocab_size"])

    def forward(
        self,
        enc_X: Int[Array, "batch source_steps"],
        dec_X: Int[Array, "batch num_steps"],
        enc_valid_lens: Shaped[Array, " batch"] | None = None,
        teacher_forcing: Bool[Array, " num_steps"] | None = None,
    ) -> Float[Array, "batch num_steps vocab_size"]:
        """Return the logits (batch, num_steps, vocab_size) of the target.

        Args:
            enc_X: source ids.
            dec_X: target ids, starting with `<bos>`.
            teacher_forcing: where False, the step is fed the most likely token of the step before
                instead of the true one; None is True everywhere.
        """
        self.check(enc_X, dec_X, enc_valid_lens, teacher_forcing)
        enc_all_outputs = self.encoder(enc_X, enc_valid_lens)
        state = self.decoder.init_state(enc_all_outputs, enc_valid_lens)
        if teacher_forcing is None:
            return self.decoder(dec_X, state)[0]
        return self._free_running(dec_X, state, teacher_forcing)

    def _free_running(self, dec_X, state, teacher_forcing):
        tokens, logits = dec_X[:, :1], []
        for t, forced in enumerate(teacher_forcing):
            tokens = torch.where(forced, dec_X[:, t : t + 1], tokens)
            Y, state = self.decoder(tokens, state)
            logits.append(Y)
            tokens = Y.argmax(dim=-1)
        return torch.cat(logits, dim=1)

    @property
    def attention_weights(self) -> list | None:
        """The decoder's attention weights, or None for a decoder without attention."""
        return getattr(self.decoder, "attention_weights", None)


class Seq2SeqEncoder(Encoder):
    """Embedding and stacked GRU."""

    recurrent = GRU

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = self.recurrent(embed_size, num_hiddens, num_layers, dropout)

    def forward(
        self, X: Int[Array, "batch num_steps"], valid_lens: Shaped[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], HiddenState]:
        """Encode ids.

        Args:
            valid_lens: when given, outputs after the end are zero and the state is the last real
                one.

        Returns:
            Outputs and state.
        """
        self.check(X, valid_lens)
        return self.rnn(self.embedding(X.T), None, valid_lens)


class LSTMEncoder(Seq2SeqEncoder):
    """Embedding and stacked LSTM (Sutskever et al., 2014); the state is a tuple of two."""

    recurrent = LSTM


class BidirectionalEncoder(Encoder):
    """Embedding and stacked bidirectional GRU (Bahdanau et al., 2015).

    Each direction has num_hiddens / 2 units, so that outputs and state, each the two directions
    side by side, have the shapes of `Seq2SeqEncoder` and fit every decoder.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
    ):
        super().__init__()
        checks.multiple("num_hiddens", num_hiddens, 2)
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = BidirectionalGRUStack(embed_size, num_hiddens // 2, num_layers, dropout)

    def forward(
        self, X: Int[Array, "batch num_steps"], valid_lens: Shaped[Array, " batch"] | None = None
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], HiddenState]:
        """Encode ids; as `Seq2SeqEncoder`."""
        self.check(X, valid_lens)
        outputs, states = self.rnn(self.embedding(X.T), None, valid_lens)
        pairs = zip(states[::2], states[1::2], strict=True)  # forward and reverse of a layer
        return outputs, torch.stack([torch.cat((f, r), dim=-1) for (f,), (r,) in pairs])


class Seq2SeqDecoder(Decoder):
    """Stacked GRU that is fed the encoder's final state at every step (Cho et al., 2014)."""

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = GRU(embed_size + num_hiddens, num_hiddens, num_layers, dropout)
        self.dense = nn.Linear(num_hiddens, vocab_size)

    def init_state(
        self, enc_all_outputs: tuple, enc_valid_lens: Shaped[Array, " batch"] | None = None
    ) -> list:
        """Return [encoder outputs, hidden state, context].

        The context (batch, num_hiddens) is the last real output: the top layer's final state.
        """
        enc_outputs, hidden_state = enc_all_outputs
        return [enc_outputs, hidden_state, hidden_state[-1]]

    def forward(
        self, X: Int[Array, "batch num_steps"], state: list
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids.

        Args:
            state: as returned by `init_state` or by the last call.

        Returns:
            Logits and the new state.
        """
        self.check(X, state)
        enc_outputs, hidden_state, context = state
        embs = self.embedding(X.T)  # (num_steps, batch, embed_size)
        contexts = context.expand(len(embs), -1, -1)
        outputs, hidden_state = self.rnn(torch.cat((embs, contexts), dim=-1), hidden_state)
        return self.dense(outputs.swapaxes(0, 1)), [enc_outputs, hidden_state, context]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, hidden_state, context = state
        return [enc_outputs[:, rows], hidden_state[:, rows], context[rows]]


class LSTMDecoder(Decoder):
    """Stacked LSTM that starts from the encoder's state, layer by layer (Sutskever et al., 2014).

    All that it knows of the source is that state.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = LSTM(embed_size, num_hiddens, num_layers, dropout)
        self.dense = nn.Linear(num_hiddens, vocab_size)

    def init_state(
        self, enc_all_outputs: tuple, enc_valid_lens: Shaped[Array, " batch"] | None = None
    ) -> list:
        """Return [encoder outputs, (H, C)], H and C (num_layers, batch, num_hiddens)."""
        enc_outputs, hidden_state = enc_all_outputs
        return [enc_outputs, hidden_state]

    def forward(
        self, X: Int[Array, "batch num_steps"], state: list
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids; as `Seq2SeqDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state = state
        outputs, hidden_state = self.rnn(self.embedding(X.T), hidden_state)
        return self.dense(outputs.swapaxes(0, 1)), [enc_outputs, hidden_state]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, (H, C) = state
        return [enc_outputs[:, rows], (H[:, rows], C[:, rows])]


def masked_loss(
    Y_hat: Float[Array, "*batch vocab_size"],
    Y: Int[Array, "*batch"],
    pad: int | None = None,
) -> Float[Array, ""]:
    """Cross-entropy, averaged over the real tokens: sum(-log p) / number of tokens not ``pad``.

    Args:
        Y_hat: logits, (batch, num_steps, vocab_size) or (batch, vocab_size).
        Y: labels.
        pad: the id that does not count; None counts every label.

    Returns:
        The average; 0 if there is no real token.

    Raises:
        ValueError: shapes that do not fit, or a label outside the vocabulary.
    """
    checks.loss_inputs(spec(Y_hat), spec(Y))
    logits = widened(Y_hat.flatten(0, -2))
    losses = F.cross_entropy(logits, Y.flatten().long(), reduction="none")
    real = torch.ones_like(losses) if pad is None else (Y != pad).flatten().to(losses.dtype)
    return ((losses * real).sum() / real.sum().clamp(min=1)).to(Y_hat.dtype)
