"""Export twins: recurrences written as ONNX GRU operators before the network is traced.

A tracer would unroll a recurrence that is written as a loop, and has been seen to drop the attribute on
which the form of the reset gate depends. So neither is left to it: each layer becomes one operator whose
attributes are set here. A twin serves for tracing alone; whether it stands for the original is settled by
the comparison of the finished graph with the original network (``parity``).
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from disc_stream.models.inference import PaperRecurrence
from disc_stream.models.layers import GRUWeights


def with_twins(net: nn.Module) -> nn.Module:
    """A copy of ``net``, on the CPU and in evaluation mode, with every recurrence replaced by its twin."""
    root = copy.deepcopy(net).cpu().eval()
    for name, part in list(root.named_modules()):
        if isinstance(part, nn.GRU):
            root.set_submodule(name, RecurrenceTwin(_weights_of(part), reset_after=True))
        elif isinstance(part, PaperRecurrence):
            layers = [GRUWeights(*cast("nn.ParameterList", layer)) for layer in part.layers]
            root.set_submodule(name, RecurrenceTwin(layers, reset_after=False))
    return root


class RecurrenceTwin(nn.Module):
    """Stands for a batch-first ``nn.GRU`` or a ``PaperRecurrence`` that starts from zero states.

    Args:
        layers: weights of each layer, one or two directions stacked.
        reset_after: PyTorch's form of the reset gate, or the paper's equation 3.
    """

    def __init__(self, layers: list[GRUWeights], *, reset_after: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GRUOperator(weights, reset_after=reset_after) for weights in layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, I) -> states (B, T, D·H) and final states (L·D, B, H), of D directions and L layers."""
        sequence = x.transpose(0, 1)
        final = []
        for layer in self.layers:
            sequence, last = layer(sequence)
            final.append(last)
        return sequence.transpose(0, 1), torch.cat(final)


class GRUOperator(nn.Module):
    """One ONNX GRU (https://onnx.ai/onnx/operators/onnx__GRU.html), from zero states.

    ONNX orders the gates z, r, h; PyTorch r, z, n. ``linear_before_reset`` 1 is PyTorch's form, with the
    reset gate after the recurrent product; 0 is the paper's equation 3.

    Args:
        weights: of one direction, or of forward and backward.
        reset_after: which of the two forms.
    """

    w: Tensor
    r: Tensor
    b: Tensor

    def __init__(self, weights: GRUWeights, *, reset_after: bool) -> None:
        super().__init__()
        self.directions, _, self.hidden = weights.w_hh.shape
        self.linear_before_reset = int(reset_after)
        self.register_buffer("w", _onnx_gates(weights.w_ih))
        self.register_buffer("r", _onnx_gates(weights.w_hh))
        self.register_buffer("b", torch.cat([_onnx_gates(weights.b_ih), _onnx_gates(weights.b_hh)], dim=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(T, B, I) -> states (T, B, D·H) in time order, and each direction's final state (D, B, H)."""
        steps, batch, _ = x.shape
        states, final = torch.onnx.ops.symbolic_multi_out(
            "GRU",
            (x, self.w, self.r, self.b),
            {
                "hidden_size": self.hidden,
                "direction": "bidirectional" if self.directions == 2 else "forward",
                "linear_before_reset": self.linear_before_reset,
            },
            dtypes=(torch.float32, torch.float32),
            shapes=((steps, self.directions, batch, self.hidden), (self.directions, batch, self.hidden)),
        )
        return states.transpose(1, 2).flatten(2), final


def _onnx_gates(part: Tensor) -> Tensor:
    """(D, 3H, …) in the order r, z, n -> z, r, h."""
    r, z, n = part.detach().float().chunk(3, dim=1)
    return torch.cat([z, r, n], dim=1).contiguous()


def _weights_of(gru: nn.GRU) -> list[GRUWeights]:
    """The weights of each layer, directions stacked."""
    if not (gru.batch_first and gru.bias):
        raise ValueError("only a batch-first nn.GRU with biases has a twin")
    suffixes = ("", "_reverse") if gru.bidirectional else ("",)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [
        GRUWeights(
            *(torch.stack([getattr(gru, f"{name}_l{layer}{end}") for end in suffixes]) for name in names)
        )
        for layer in range(gru.num_layers)
    ]
