"""Less memory for more time: activations inside a block are not kept but computed anew on the way back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run(block: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """`block(*inputs)`; where `recompute`, only the inputs are kept for going backward. The same values and gradients.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, section 4. arXiv:1604.06174
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
