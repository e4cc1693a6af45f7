"""The model's linear layers during a pass of the bank: frozen weights, the policy, and each slot's own adapter.

Letters: G slots of a pass, N packed tokens, T tokens per slot, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from seal_ray.bank.adapter import Adapter
from seal_ray.bank.attention import NAME, Attention
from seal_ray.bank.layout import Groups, Layout
from seal_ray.bank.lora import linear_modules

Views = dict[str, tuple[Tensor, Tensor]]
Columns = tuple[Tensor | None, Tensor | None]


@dataclass
class PassContext:
    """What the model's layers read during a pass; empty between passes."""

    layout: Layout | None = None
    attention: Attention | None = None
    weights: Views = field(default_factory=dict)
    """A and B of the pass's slots by module, in the base model's dtype."""
    grads: Views = field(default_factory=dict)
    scale: Columns = (None, None)
    """Each slot's scale, as a column over its tokens and over its wanted tokens; None when all are 1."""
    policy: Views = field(default_factory=dict)
    """The policy's A `[R, I]` and B `[O, R]`, its scale folded into B."""
    policy_off: Columns = (None, None)
    """Likewise True for slots the policy does not lie under; None when it lies under all."""
    recompute: bool = False
    """Layers keep their input alone for the backward half of a pass, and work out the rest a second time."""


@dataclass(frozen=True)
class Adapters:
    """The adapters of all slots, as a pass reads them."""

    weights: Views
    """A `[S, R, I]` and B `[S, O, R]` by module, in the base model's dtype."""
    scales: Sequence[float]
    on_policy: Sequence[bool]
    """Whether the policy lies under each slot."""


def _columns(values: Sequence[float], layout: Layout, patched: PatchedModel) -> Columns:
    """Each slot's number at each of its tokens; None when all are 1."""
    if all(value == 1.0 for value in values):
        return None, None
    values_G = torch.tensor(values, dtype=patched.dtype).to(patched.device, non_blocking=True)
    return layout.tokens.column(values_G), layout.heads.column(values_G)


def _narrow(views: Views, slots: slice) -> Views:
    return {name: (a_SRI[slots], b_SOR[slots]) for name, (a_SRI, b_SOR) in views.items()}


class PatchedModel:
    """A model whose linear and attention layers read a pass's context during the bank's passes."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.context = model, PassContext()
        self.implementation = NAME
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.vocabulary = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator, union-attr]
        self.modules = linear_modules(model)
        self.policy: Views = {}
        # Autograd starts where something requires a gradient; adapters take theirs by hand, so this stands for them.
        self.autograd_root = torch.zeros((), device=self.device, dtype=self.dtype, requires_grad=True)
        head = model.get_output_embeddings()  # type: ignore[operator]
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                _install(module, name, self, is_head=module is head)
            if hasattr(module, "layer_idx"):
                module.bank_context = self.context
            if isinstance(module, GradientCheckpointingLayer):
                _let_recompute(module, self.context)
        model.requires_grad_(False).eval()

    @contextmanager
    def active(
        self,
        layout: Layout,
        attention: Attention,
        adapters: Adapters,
        grads: Views | None = None,
        recompute: bool = False,
    ) -> Iterator[None]:
        """Let the layers see this layout and these adapters during one pass; with `grads`, one that is trained."""
        config: Any = self.model.config
        usual = config._attn_implementation
        slots = slice(layout.first, layout.first + layout.tokens.slots)
        vars(self.context).update(
            layout=layout,
            attention=attention,
            weights=_narrow(adapters.weights, slots),
            grads=_narrow(grads or {}, slots),
            recompute=recompute,
            scale=_columns(adapters.scales[slots], layout, self),
            policy=self.policy,
            policy_off=self._policy_off(adapters.on_policy[slots], layout) if self.policy else (None, None),
        )
        config._attn_implementation = self.implementation
        try:
            yield
        finally:
            config._attn_implementation = usual
            vars(self.context).update(vars(PassContext()))

    def _policy_off(self, on_policy: Sequence[bool], layout: Layout) -> Columns:
        tokens, heads = _columns(on_policy, layout, self)
        # Not a product with zero, which would be NaN where the policy's own product is too large for the dtype.
        return tokens if tokens is None else tokens == 0, heads if heads is None else heads == 0

    def logits(self, layout: Layout) -> Tensor:
        """`[L, V]`: the logits of the wanted tokens of a layout, within `active`."""
        output = self.model(
            input_ids=layout.input_ids,
            position_ids=layout.position_ids,
            use_cache=False,
            logits_to_keep=layout.head_index,
        )
        return output.logits[0]


def _install(linear: nn.Linear, name: str, patched: PatchedModel, is_head: bool) -> None:
    context, frozen = patched.context, linear.forward

    def forward(x: Tensor) -> Tensor:
        if context.layout is None or (name not in context.weights and name not in context.policy):
            return frozen(x)
        call = _Call(
            linear=linear,
            groups=context.layout.heads if is_head else context.layout.tokens,
            weights=context.weights.get(name),
            grads=context.grads.get(name),
            scale=context.scale[is_head],
            policy=context.policy.get(name),
            policy_off=context.policy_off[is_head],
        )
        x_NI = x.reshape(-1, x.shape[-1])
        y_NO = _AdaptedLinear.apply(x_NI, patched.autograd_root, call) if context.grads else call.forward(x_NI)[0]
        return y_NO.view(*x.shape[:-1], -1)

    linear.forward = forward  # type: ignore[method-assign, assignment]


def _let_recompute(layer: nn.Module, context: PassContext) -> None:
    """The model's own switch for this works in training mode alone, which would also switch dropout on."""
    usual = layer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not context.recompute:
            return usual(*args, **kwargs)
        return checkpoint(usual, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    layer.forward = forward  # type: ignore[method-assign]


@dataclass
class _Call:
    """One linear layer in one pass: `y = x Wᵀ + b + policy + scale · x Aᵀ Bᵀ`."""

    linear: nn.Linear
    groups: Groups
    weights: tuple[Tensor, Tensor] | None
    grads: tuple[Tensor, Tensor] | None
    scale: Tensor | None
    policy: tuple[Tensor, Tensor] | None
    policy_off: Tensor | None

    def forward(self, x_NI: Tensor) -> tuple[Tensor, Tensor | None]:
        """The output, and the scaled products with A, which the gradients of A and B need."""
        y_NO = F.linear(x_NI, self.linear.weight, self.linear.bias)
        if self.policy:
            a_RI, b_OR = self.policy
            y_NO.addmm_(self._masked(x_NI @ a_RI.T), b_OR.T)
        if not self.weights:
            return y_NO, None
        a_GRI, b_GOR = self.weights
        z_NR = self._scaled(self.groups.times(x_NI, a_GRI.transpose(1, 2)))
        self.groups.add_times(y_NO, z_NR, b_GOR.transpose(1, 2))
        return y_NO, z_NR

    def backward(self, dy_NO: Tensor, x_NI: Tensor, z_NR: Tensor | None, wants_dx: bool) -> Tensor | None:
        """Add to the gradients of A and B; return that of the input."""
        dx_NI = dy_NO @ self.linear.weight if wants_dx else None
        if self.policy and dx_NI is not None:
            a_RI, b_OR = self.policy
            dx_NI.addmm_(self._masked(dy_NO @ b_OR), a_RI)
        if self.weights and self.grads and z_NR is not None:
            a_GRI, b_GOR = self.weights
            grad_a, grad_b = self.grads
            dz_NR = self._scaled(self.groups.times(dy_NO, b_GOR))
            self.groups.add_outer(grad_b, dy_NO, z_NR)
            self.groups.add_outer(grad_a, dz_NR, x_NI)
            if dx_NI is not None:
                self.groups.add_times(dx_NI, dz_NR, a_GRI)
        return dx_NI

    def _scaled(self, z_NR: Tensor) -> Tensor:
        return z_NR if self.scale is None else z_NR.mul_(self.scale)

    def _masked(self, z_NR: Tensor) -> Tensor:
        return z_NR if self.policy_off is None else z_NR.masked_fill_(self.policy_off, 0.0)


class _AdaptedLinear(torch.autograd.Function):
    """Only the input gets its gradient from autograd; A and B get theirs in place."""

    @staticmethod
    def forward(ctx, x_NI: Tensor, anchor: Tensor, call: _Call) -> Tensor:  # type: ignore[no-untyped-def]
        y_NO, z_NR = call.forward(x_NI)
        ctx.call = call
        ctx.save_for_backward(x_NI, z_NR)
        return y_NO

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, None, None]:  # type: ignore[no-untyped-def]
        return ctx.call.backward(grads[0].contiguous(), *ctx.saved_tensors, ctx.needs_input_grad[0]), None, None


def policy_views(adapter: Adapter | None, patched: PatchedModel) -> Views:
    """An adapter on the model's device, its scale folded into B; `ValueError` when it does not fit the model."""
    weights: Views = {}
    if adapter is None:
        return weights
    fitting = {module.name: module for module in patched.modules}
    for name in adapter.modules:
        a_RI, b_OR = adapter.pair(name)
        module = fitting.get(name)
        if module is None or (a_RI.shape[1], b_OR.shape[0]) != (module.width_in, module.width_out):
            raise ValueError(f'the policy adapter does not fit the model at "{name}"; give one made for this base')
        b_OR = b_OR * b_OR.dtype.type(adapter.scale)
        a, b = (torch.tensor(x, device=patched.device, dtype=patched.dtype) for x in (a_RI, b_OR))
        weights[name] = (a, b)
    return weights
