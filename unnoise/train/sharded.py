"""Weights in parts: each process keeps a part of every weight of the network, of its moments and of its averages (FSDP2).

Weights are put together where a block computes and parted again; what is updated, averaged and checked are the parts themselves,
as the parameters of a module of the same names. A checkpoint holds whole tensors, so that any number of processes goes on.

Reference: Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, 2020, section 5,
arXiv:1910.02054; Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, 2023. arXiv:2304.11277
"""

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .ranks import Several, Tensors
from .weights import gathered, serialise

SECTION = re.compile(r"(?:model|ema|power\.\d+|optimizer\.exp_avg|optimizer\.exp_avg_sq)\.")


class Sharded(Several):
    """Several processes, each with a part of the model. Gradients of the network are summed as they are parted."""

    def learnt(self, model: nn.Module, objective: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor

        # What a network returns may be a view; nothing here changes it in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")
        self.scale = self.world  # FSDP2 takes the mean over the processes
        super().learnt(model, objective)
        network: nn.Module = getattr(model, "network", model)
        if scalar := next((name for name, weight in network.named_parameters() if not weight.ndim), None):
            raise ValueError(
                f"shard = true: the weight '{scalar}' is one number, which cannot be parted; train with shard = false"
            )
        parts = copy.deepcopy(model)  # the same names; gets the parts in place of the whole
        mesh = init_device_mesh(self.device.type, (self.world,))
        for block in _blocks(network):
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)
        self.spread_over: dict[str, Any] = {}
        self.parts: dict[str, nn.Parameter] = {}
        known: dict[int, nn.Parameter] = {}
        for name, weight in model.named_parameters(remove_duplicate=False):
            if isinstance(weight, DTensor):
                self.spread_over[name] = weight
                part = nn.Parameter(weight.to_local().detach(), requires_grad=weight.requires_grad)
                self.parts[name] = weight_of = known.setdefault(id(weight), part)
            else:
                weight_of = weight
            _put(parts, name, weight_of)
        for name, buffer in model.named_buffers(remove_duplicate=False):
            _put(parts, name, buffer)
        sharded = {id(weight) for weight in self.spread_over.values()}
        whole = (*model.parameters(), *objective.parameters())
        self.weights = [weight for weight in whole if weight.requires_grad and id(weight) not in sharded]
        return parts

    def total(self, loss: Tensor) -> Tensor:
        for name, part in self.parts.items():
            weight = self.spread_over[name]
            if weight.grad is not None:
                part.grad, weight.grad = weight.grad.to_local(), None
        for weight in self.weights:  # their losses were scaled too
            if weight.grad is not None:
                weight.grad /= self.world
        return super().total(loss)

    def clip(self, weights: Iterable[Tensor], most: float) -> Tensor:
        listed, parts = list(weights), {id(part) for part in self.parts.values()}
        mine = [weight.grad for weight in listed if weight.grad is not None and id(weight) in parts]
        shared = [weight.grad for weight in listed if weight.grad is not None and id(weight) not in parts]
        square = _square(mine, self.device)
        torch.distributed.all_reduce(square)
        norm = (square + _square(shared, self.device)).sqrt()
        torch.nn.utils.clip_grads_with_norm_(listed, most, norm, foreach=True)
        return norm.float()

    def mine(self, name: str, tensor: Tensor) -> Tensor:
        weight = self.spread_over.get(SECTION.sub("", name, count=1))
        if weight is None or tensor.shape != weight.shape:
            return tensor
        chunks = tensor.chunk(self.world)
        return chunks[self.rank].clone() if self.rank < len(chunks) else tensor[:0].clone()

    def whole(self, tensors: Tensors) -> Tensors:
        return {name: self._whole(name, tensor) for name, tensor in tensors.items()}

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        weight = self.spread_over.get(SECTION.sub("", name, count=1))
        if weight is None or tensor.shape != weight.to_local().shape:
            return tensor
        layout = {"shape": weight.shape, "stride": weight.stride()}
        return DTensor.from_local(tensor.detach(), weight.device_mesh, weight.placements, run_check=False, **layout)

    def write(self, tensors: Tensors, work: Callable[[Tensors], object]) -> None:
        gathering = self.whole(tensors)
        if self.first:
            work(gathering)
        else:
            for _ in serialise(gathering):  # the same tensors in the same order
                pass

    def replica(self, module: nn.Module) -> nn.Module:
        made = copy.deepcopy(module)
        for name, tensor in module.named_parameters():
            whole = self._whole(name, tensor)
            if whole is not tensor:
                _put(made, name, nn.Parameter(gathered(whole), requires_grad=tensor.requires_grad))
        return made


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """What computes by itself, one after another: the members of a network's lists."""
    for child in network.children():
        if _is_list(child):
            yield from _members(child)


def _members(listed: nn.Module) -> Iterator[nn.Module]:
    for member in listed.children():
        if _is_list(member):
            yield from _members(member)
        elif any(True for _ in member.parameters()):
            yield member


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList) and type(module).forward is nn.ModuleList.forward  # a chain has its own


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, last = name.rpartition(".")
    holder = module.get_submodule(path)
    kept: dict[str, Any] = holder._parameters if last in holder._parameters else holder._buffers
    kept[last] = tensor


def _square(gradients: list[Tensor], device: torch.device) -> Tensor:
    """The sum of their squares, in float64."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return sum((torch.linalg.vector_norm(g, dtype=torch.float64) ** 2 for g in gradients if g.numel()), zero)
