"""The tensors that a run carries from one step to the next, and the one thing that is done to them: an update."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .ema import EMA
from .power import Power
from .weights import assign, copy, nonfinite

MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's state of one parameter
OBJECTIVE = "objective"


class NonFinite(ValueError):
    """NaN or infinity in a loss, a gradient or a weight; raised before it is averaged or saved.

    Args:
        message: The line for people.
        step: The update that met it.
        what: Where it is.
        lasting: Whether it lies in the data, so that it would be met again at any learning rate.
    """

    def __init__(self, message: str, step: int = 0, what: str = "", lasting: bool = False) -> None:
        super().__init__(message)
        self.step, self.what, self.lasting = step, what, lasting


class Learner:
    """A model, the average of its weights, AdamW's moments, and what was summed since the last row of the log.

    Args:
        model: Trained in place. Weight decay acts on its matrices and kernels, not on biases and gains (ndim < 2).
        objective: The modules that the objective holds (see `modules`): trained and saved with the model, not averaged.
        betas, weight_decay: AdamW's.
        clip: Largest norm of the gradient over all weights; infinity for none.
        ema, ema_warmup: The average's decay and warm-up share; see `EMA`.
        lengths: Of averages that are kept beside it; see `Power`.
        shorten: Brings gradients down to a norm and returns the one they had.

    Reference: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2. arXiv:1711.05101
    """

    def __init__(
        self,
        model: nn.Module,
        objective: nn.Module | None = None,
        *,
        betas: tuple[float, float],
        weight_decay: float,
        clip: float,
        ema: float,
        ema_warmup: float,
        lengths: Sequence[float] = (),
        shorten: Callable[[Iterable[Tensor], float], Tensor] | None = None,
    ) -> None:
        self.model, self.objective, self.clip = model, objective or nn.ModuleDict(), clip
        self.shorten = shorten or shortened
        self.average = EMA(model, ema, ema_warmup)
        self.powers = [Power(model, length) for length in lengths]
        self.named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        if not self.named:
            raise ValueError("the model has no weight to train; all are frozen (requires_grad=False)")
        self.named |= {f"{OBJECTIVE}.{name}": weight for name, weight in self.objective.named_parameters()}
        groups = [
            {"params": [w for w in self.named.values() if w.ndim >= 2], "weight_decay": weight_decay},
            {"params": [w for w in self.named.values() if w.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], betas=betas, fused=True)
        self.device = next(iter(self.named.values())).device
        # Loss, gradient norm and number of steps since the last row of the log. Saved, so that rows survive a kill.
        self.sums = torch.zeros(3, device=self.device)
        self.first_bad = torch.zeros((), dtype=torch.int64, device=self.device)

    def update(self, step: int, loss: Tensor, rate: float) -> None:
        """Clip the gradients, step, average: update number `step`, at learning rate `rate`.

        Where the loss or the gradient's norm is not finite, weights and moments stay as they are, in this step and in
        every later one, without waiting for the device: the fused AdamW skips where `found_inf` is 1. `first_bad_step`
        tells of it.
        """
        norm = self.shorten(self.named.values(), self.clip)
        bad = (~torch.isfinite(loss + norm)) | (self.first_bad > 0)
        self.first_bad = torch.where(bad & (self.first_bad == 0), step, self.first_bad)
        self.optimizer.found_inf = bad.to(torch.float32)  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.average.update(self.model, step)
        for power in self.powers:
            power.update(self.model, step)
        self.sums += torch.stack([loss, norm, torch.ones_like(loss)])

    def first_bad_step(self) -> int:
        """The first step whose loss or gradient was not finite; 0 if all were. Waits for the device."""
        return int(self.first_bad)

    def nonfinite_weight(self) -> str | None:
        """The first weight, or else average of one, that holds NaN or infinity, by name."""
        return nonfinite(self.named) or nonfinite(dict(self.average.module.named_parameters()))

    def culprit(self) -> str:
        """What holds NaN or infinity in a bad step: a weight; or else the loss; or else a gradient."""
        if name := self.nonfinite_weight():
            return f"the weight '{name}'"
        if not torch.isfinite(self.sums[0]):
            return "the loss"
        gradients = {name: weight.grad for name, weight in self.named.items() if weight.grad is not None}
        name = nonfinite(gradients)
        return f"the gradient of '{name}'" if name else "the norm of the gradient"

    def means(self) -> dict[str, float]:
        """Mean loss and gradient norm since the last call."""
        loss, norm, count = self.sums.tolist()
        self.sums.zero_()
        return {"loss": loss / count, "grad_norm": norm / count}

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps, by name."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.average.module.state_dict().items()}
        tensors |= {f"{OBJECTIVE}.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        tensors |= {f"power.{k}.{name}": tensor for k, one in enumerate(self.powers) for name, tensor in one.weights.items()}
        for name, weight in self.named.items():  # a weight that has had no gradient yet has no moments
            state = self.optimizer.state.get(weight, {})
            tensors |= {f"optimizer.{key}.{name}": state[key] for key in MOMENTS if state}
        return tensors | {"sums": self.sums}

    def restore(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Take everything back from a checkpoint; ValueError, naming `source`, if names or shapes differ."""
        sections = {"model": self.model, "ema": self.average.module, OBJECTIVE: self.objective}
        for section, module in sections.items():
            assign(module, _below(section, tensors), f"{source} ({section})")
        for k, one in enumerate(self.powers):
            copy(one.weights, _below(f"power.{k}", tensors), f"{source} (average of length {one.length})")
        self.optimizer.state.clear()
        self.first_bad.zero_()
        moments = {key: _below(f"optimizer.{key}", tensors) for key in MOMENTS}
        if unknown := moments["step"].keys() - self.named.keys():
            raise ValueError(f"{source} has trained '{min(unknown)}', which is not trained here")
        for name in moments["step"]:
            weight = self.named[name]
            state = {key: torch.zeros_like(weight) for key in ("exp_avg", "exp_avg_sq")}  # the weight's own strides
            state["step"] = torch.zeros((), device=weight.device)
            copy(state, {key: values[name] for key, values in moments.items()}, f"{source} (optimizer, '{name}')")
            self.optimizer.state[weight] = state
        self.sums.copy_(tensors["sums"])


@torch.no_grad()
def shortened(weights: Iterable[Tensor], most: float) -> Tensor:
    """The norm of the gradients, which are brought down to `most`."""
    weights = list(weights)
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if len({(gradient.device, gradient.dtype) for gradient in gradients}) != 1:
        return torch.nn.utils.clip_grad_norm_(weights, most, foreach=True)
    # The same to the bit, without sorting them by device and type first, which takes as long as the work.
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    share = (most / (norm + 1e-6)).clamp(max=1.0)
    if not _is_one(share):
        torch._foreach_mul_(gradients, share)
    return norm


def _is_one(share: Tensor) -> bool:
    """Whether a product with it, a whole pass over memory, can be left out. A device is not asked: it would be waited for."""
    return share.device.type == "cpu" and bool(share == 1)


def modules(objective: Any) -> nn.Module:
    """All modules that an objective is or holds in the fields of its dataclass, at any depth, as one."""
    if isinstance(objective, nn.Module):
        return objective
    held = nn.ModuleDict()
    if is_dataclass(objective):
        parts = {field.name: modules(getattr(objective, field.name)) for field in fields(objective)}
        held.update({name: part for name, part in parts.items() if part.state_dict()})
    return held


def _below(section: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one section, by their names in it."""
    prefix = f"{section}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
