"""A gradient that is wrong although the value is right, in PyTorch."""

import torch


class Halved(torch.autograd.Function):
    """The identity, with half the gradient."""

    @staticmethod
    def forward(ctx, X):
        return X.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2
