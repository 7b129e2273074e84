"""Optimizers and learning rate schedules: AdamW's parameter groups, Muon, and pure functions step -> share of the peak.

Muon: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, kellerjordan.github.io/posts/muon.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from openlvm.training.config import OptimConfig
from openlvm.training.parallel.sharding import local, whole

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan 2024: steepest at 0 of those that end near 1
_QUINTIC_STEPS = 5  # Jordan 2024


def cosine_share(step: int, *, steps: int, warmup_steps: int, final_share: float) -> float:
    """Linear warm-up to 1, then half a cosine down to `final_share` at `steps`.

    Args:
        step: optimizer steps done before this one, 0..steps.
        steps: optimizer steps in all.
        warmup_steps: the first of them, over which the share grows to 1.
        final_share: the share at the end.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def wsd_share(step: int, *, steps: int, warmup_steps: int, decay_steps: int, final_share: float) -> float:
    """Warm-up, stable, decay (MiniCPM, arXiv 2404.06395): linear to 1, 1, then linear to `final_share` at `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - (steps - decay_steps)) / decay_steps
    return 1 - (1 - final_share) * min(1.0, max(0.0, done))


def lr_share(config: OptimConfig, step: int, steps: int) -> float:
    """The learning rate of optimizer step number `step` (from 0) of `steps`, as a share of the peak."""
    warmup_steps, final_share = config.warmup_steps, config.final_share
    if config.schedule == "cosine":
        return cosine_share(step, steps=steps, warmup_steps=warmup_steps, final_share=final_share)
    decay_steps = config.decay_steps
    return wsd_share(step, steps=steps, warmup_steps=warmup_steps, decay_steps=decay_steps, final_share=final_share)


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: U S V^T -> U S' V^T with S' in about 0.7..1.2.

    Newton-Schulz iteration with the quintic of Jordan 2024, in bfloat16 on CUDA, float32 elsewhere.

    Args:
        matrices: float [..., rows, columns].
    """
    a, b, c = _QUINTIC
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    is_tall = x.size(-2) > x.size(-1)
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_QUINTIC_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if is_tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose step is orthogonalized, for matrices of hidden layers (Jordan 2024).

    Matrices of one shape are orthogonalized together. The step is scaled by sqrt(max(1, rows / columns)).
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient stay."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    by_shape[param.shape].append(param)
            for params in by_shape.values():
                self._step_together(params, group)

    def _step_together(self, params: list[Tensor], group: dict[str, Any]) -> None:
        for param in params:
            if not self.state[param]:
                self.state[param]["momentum"] = torch.zeros_like(param)
        grads = [local(param.grad) for param in params if param.grad is not None]
        momenta = [local(self.state[param]["momentum"]) for param in params]
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(grads, momenta, group["momentum"])
        rows, columns = params[0].shape
        scale = math.sqrt(max(1.0, rows / columns))
        updates = orthogonal_shares(list(nesterov), params[0])
        shares = [local(param) for param in params]
        torch._foreach_mul_(shares, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(shares, updates, alpha=-group["lr"] * scale)


def orthogonal_shares(shares: list[Tensor], like: Tensor) -> list[Tensor]:
    """Orthogonalize matrices of which this rank holds shares (or all); its shares of the results.

    Ranks exchange pieces until each has some of the matrices whole, and back: none does another's work.

    Args:
        shares: float [rows held, columns] each.
        like: a parameter of the whole shape, cut as they are.
    """
    stacked = torch.stack(shares)  # [matrices, rows held, columns]
    if not hasattr(like, "device_mesh"):
        return list(orthogonalize(stacked).unbind(0))
    from torch.distributed.tensor import DTensor, Shard

    shape = torch.Size([len(shares), *like.shape])
    stride = (like.shape[0] * like.shape[1], like.shape[1], 1)
    assert isinstance(like, DTensor)
    mesh, copies = like.device_mesh, list(like.placements[:-1])
    cut = DTensor.from_local(stacked, mesh, [*copies, Shard(1)], run_check=False, shape=shape, stride=stride)
    mine = cut.redistribute(mesh, [*copies, Shard(0)])  # [some matrices, rows, columns]
    held = orthogonalize(mine.to_local())
    done = DTensor.from_local(held, mesh, [*copies, Shard(0)], run_check=False, shape=shape, stride=stride)
    return list(done.redistribute(mesh, [*copies, Shard(1)]).to_local().unbind(0))


def _clip(params: list[Tensor], limit: float) -> float:
    """Scale the gradients to a norm of at most `limit`, whatever ranks hold them; the norm before."""
    grads = [param.grad for param in params if param.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(grads))
    torch.nn.utils.clip_grads_with_norm_(params, limit, norm)
    return norm.item()


class Optimizers:
    """Several optimizers that step as one; `state_dict` holds all of them by name.

    Args:
        clip_norms: name of an optimizer -> largest norm of its gradient; optimizers without one share `clip_norm`.
    """

    def __init__(
        self,
        optimizers: Mapping[str, torch.optim.Optimizer],
        *,
        clip_norm: float = math.inf,
        clip_norms: Mapping[str, float] | None = None,
    ):
        self.optimizers, self._clip_norm, self._clip_norms = dict(optimizers), clip_norm, dict(clip_norms or {})
        self._peaks = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}

    def set_lr_share(self, share: float) -> None:
        """Every learning rate becomes its peak times `share`."""
        for name, optimizer in self.optimizers.items():
            for group, peak in zip(optimizer.param_groups, self._peaks[name], strict=True):
                group["lr"] = peak * share

    def clip(self) -> float:
        """Clip the gradients; returns the norm before, of those that share a clip (of the others when not finite)."""
        shared = [p for name in self.optimizers if name not in self._clip_norms for p in self._parameters_of(name)]
        values = [_clip(shared, self._clip_norm)]
        values += [_clip(self._parameters_of(name), limit) for name, limit in self._clip_norms.items()]
        return values[0] if all(map(math.isfinite, values)) else math.nan

    def _parameters_of(self, name: str) -> list[Tensor]:
        return [p for group in self.optimizers[name].param_groups for p in group["params"]]

    def step(self) -> None:
        """One step of each."""
        for optimizer in self.optimizers.values():
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def parameters(self) -> list[Tensor]:
        """All trained parameters."""
        return [p for name in self.optimizers for p in self._parameters_of(name)]

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        if state.keys() != self.optimizers.keys():
            raise ValueError(f"the checkpoint holds optimizers {sorted(state)}, expected {sorted(self.optimizers)}")
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])


def split_parameters(modules: Mapping[str, nn.Module]) -> dict[str, list[nn.Parameter]]:
    """The trained parameters in four lists: `hidden` matrices, `outer` weights, `embeddings`, and `vectors`.

    `outer` is the head and the filters of convolutions (decayed, not for Muon); `vectors` are norms and biases.
    """
    lists: dict[str, list[nn.Parameter]] = {"hidden": [], "outer": [], "embeddings": [], "vectors": []}
    seen: set[nn.Parameter] = set()
    for module in modules.values():
        embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for name, param in module.named_parameters():
            if not param.requires_grad or param in seen:
                continue
            seen.add(param)
            is_head = "lm_head" in name.split(".")
            if id(param) in embeddings:
                lists["embeddings"].append(param)
            elif param.ndim < 2:
                lists["vectors"].append(param)
            else:
                lists["hidden" if param.ndim == 2 and not is_head else "outer"].append(param)
    return lists


def make_optimizer(
    modules: Mapping[str, nn.Module], config: OptimConfig, own: Mapping[str, OptimConfig] | None = None
) -> Optimizers:
    """The optimizer of all parameters that require a gradient; the modules named in `own` get one of their own."""
    own = own or {}
    optimizers = _optimizers_of({name: module for name, module in modules.items() if name not in own}, config)
    clip_norms = {}
    for module, its_config in own.items():
        for name, optimizer in _optimizers_of({module: modules[module]}, its_config).items():
            optimizers[f"{module}/{name}"] = optimizer
            clip_norms[f"{module}/{name}"] = its_config.clip_norm
    return Optimizers(optimizers, clip_norm=config.clip_norm, clip_norms=clip_norms)


def _optimizers_of(modules: Mapping[str, nn.Module], config: OptimConfig) -> dict[str, torch.optim.Optimizer]:
    lists = split_parameters(modules)
    optimizers: dict[str, torch.optim.Optimizer] = {}
    if config.optimizer == "muon":
        hidden = lists.pop("hidden")
        if not hidden:
            raise ValueError("optimizer=muon, but nothing that is trained is a hidden matrix; use optimizer=adamw")
        decay = config.weight_decay
        optimizers["muon"] = Muon(hidden, lr=config.muon_lr, momentum=config.muon_momentum, weight_decay=decay)
    spared = {"embeddings", "vectors"}
    groups = [
        {"params": params, "weight_decay": 0.0 if name in spared and not config.decay_all else config.weight_decay}
        for name, params in lists.items()
        if params
    ]
    if groups:
        optimizers["adamw"] = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    return optimizers
