"""The model's linear layers during a pass of the bank: frozen weights, resident adapters, and each slot's own adapter.

Letters: G slots of a pass, N packed tokens, T tokens per slot, I in, O out, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from seal_ray.bank.attention import NAME, Attention
from seal_ray.bank.device import sent
from seal_ray.bank.layout import Groups, Layout
from seal_ray.bank.lora import linear_modules
from seal_ray.bank.mixing import Batch, Mixer, states_argument
from seal_ray.bank.ragged import Ragged
from seal_ray.bank.residents import BASE, Residents, Weights

Views = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Block:
    """The adapters of neighbouring slots, all of one shape."""

    slots: slice
    weights: Views
    """A `[S, R, I]` and B `[S, O, R]` by module, in the base model's dtype."""
    grads: Views = field(default_factory=dict)
    """What their gradients are added to, where the adapters are trained."""

    def within(self, slots: slice) -> Block:
        """Those of these slots, counted from the first of them."""
        start, stop = max(self.slots.start, slots.start), min(self.slots.stop, slots.stop)
        place = slice(start - slots.start, stop - slots.start)
        if self.slots == slice(start, stop):
            return Block(place, self.weights, self.grads)
        own = slice(start - self.slots.start, stop - self.slots.start)
        return Block(place, _narrow(self.weights, own), _narrow(self.grads, own))


def _narrow(views: Views, slots: slice) -> Views:
    return {name: (a_SRI[slots], b_SOR[slots]) for name, (a_SRI, b_SOR) in views.items()}


@dataclass(frozen=True)
class Adapters:
    """The adapters of all slots, as a pass reads them."""

    blocks: Sequence[Block]
    """In the order of their slots; one that is in none has no adapter of its own."""
    scales: Sequence[float]
    bases: Sequence[str]
    """The key of the resident adapter under each slot; the empty one is the untouched base."""

    @classmethod
    def none(cls, bases: Sequence[str]) -> Adapters:
        """A slot for each of these, without adapters of their own."""
        return cls((), (1.0,) * len(bases), bases)

    def within(self, slots: slice) -> Adapters:
        """Those of these slots alone."""
        blocks = [
            block.within(slots)
            for block in self.blocks
            if block.slots.start < slots.stop and slots.start < block.slots.stop
        ]
        return Adapters(blocks, self.scales[slots], self.bases[slots])


@dataclass(frozen=True)
class Part:
    """The tokens of the slots of one block: what their adapters do to them in any layer."""

    rows: slice
    """Where the tokens lie."""
    groups: Groups
    """How they divide over the slots."""
    scale: Tensor | None
    """Each slot's scale, as a column over its tokens; None when all are 1."""
    block: Block

    def add_product(self, layer: str, y_NO: Tensor, x_NI: Tensor) -> Tensor:
        """`y += scale · x Aᵀ Bᵀ`; the scaled products with A, which the gradients of A and B need."""
        a_GRI, b_GOR = self.block.weights[layer]
        z_NR = self._scaled(self.groups.times(x_NI[self.rows], a_GRI.transpose(1, 2)))
        self.groups.add_times(y_NO[self.rows], z_NR, b_GOR.transpose(1, 2))
        return z_NR

    def add_gradients(self, layer: str, dx_NI: Tensor | None, dy_NO: Tensor, x_NI: Tensor, z_NR: Tensor) -> None:
        """Of A, of B, and where it is wanted of the input."""
        (a_GRI, b_GOR), (grad_a, grad_b) = self.block.weights[layer], self.block.grads[layer]
        dy_NO = dy_NO[self.rows]
        dz_NR = self._scaled(self.groups.times(dy_NO, b_GOR))
        self.groups.add_outer(grad_b, dy_NO, z_NR)
        self.groups.add_outer(grad_a, dz_NR, x_NI[self.rows])
        if dx_NI is not None:
            self.groups.add_times(dx_NI[self.rows], dz_NR, a_GRI)

    def _scaled(self, z_NR: Tensor) -> Tensor:
        return z_NR if self.scale is None else z_NR.mul_(self.scale)


@dataclass(frozen=True)
class Multiplied:
    """Tokens that linear layers multiply together, and what lies on each of them."""

    parts: tuple[Part, ...]
    bases: tuple[tuple[Weights, Tensor | None], ...]
    """The resident adapters, and the indices of the tokens that each lies under; None when these are all of them."""


@dataclass
class PassContext:
    """What the model's layers read during a pass; empty between passes."""

    attention: Attention | None = None
    tokens: Multiplied | None = None
    heads: Multiplied | None = None
    """Those whose logits are wanted."""
    of_groups: Callable[[Groups], Multiplied] | None = None
    """What lies on tokens that divide over the pass's slots like this."""
    batch: Batch | None = None
    """The rows that a mixer is at work on; None outside of mixers."""
    trained: bool = False
    """Whether gradients are gathered."""
    recompute: bool = False
    """Layers keep their input alone for the backward half of a pass, and work out the rest a second time."""

    @contextmanager
    def at(self, batch: Batch | None) -> Iterator[None]:
        """Have linear layers multiply the tokens of these rows, given as lines; those of all, packed, with None."""
        usual = self.tokens
        if batch is not None:
            assert self.of_groups
            self.batch, self.tokens = batch, self.of_groups(batch.groups)
        try:
            yield
        finally:
            self.batch, self.tokens = None, usual


FEW, LARGE = 32, 1 << 18
"""Rows that are few, and the numbers of a matrix that is large."""


class PatchedModel:
    """A model whose linear and attention layers read a pass's context during the bank's passes."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.context = model, PassContext()
        self.recurrent = False
        """Whether it has layers that carry a state along a text."""
        self.implementation = NAME
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.ragged = Ragged.on(self.device, self.dtype)
        self.vocabulary = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator, union-attr]
        self.modules = linear_modules(model)
        self.residents = Residents(self.modules, self.device, self.dtype)
        # Autograd starts where something requires a gradient; adapters take theirs by hand, so this stands for them.
        self.autograd_root = torch.zeros((), device=self.device, dtype=self.dtype, requires_grad=True)
        head = model.get_output_embeddings()  # type: ignore[operator]
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                _install(module, name, self, is_head=module is head)
            if hasattr(module, "layer_idx"):
                module.bank_context = self.context
            if argument := states_argument(module):
                self.recurrent = True
                _install_mixer(module, argument, self.context)
            if isinstance(module, GradientCheckpointingLayer):
                _let_recompute(module, self.context)
        model.requires_grad_(False).eval()

    @contextmanager
    def active(
        self, layout: Layout, attention: Attention, adapters: Adapters, recompute: bool = False
    ) -> Iterator[None]:
        """Let the layers see this layout and these adapters during one pass."""
        config: Any = self.model.config
        usual = config._attn_implementation
        present = adapters.within(slice(layout.first, layout.first + layout.tokens.slots))

        @cache
        def of_groups(groups: Groups) -> Multiplied:
            return self._multiplied(groups, present)

        vars(self.context).update(
            attention=attention,
            tokens=of_groups(layout.tokens),
            heads=of_groups(layout.heads),
            of_groups=of_groups,
            trained=any(block.grads for block in present.blocks),
            recompute=recompute,
        )
        config._attn_implementation = self.implementation
        try:
            yield
        finally:
            config._attn_implementation = usual
            vars(self.context).update(vars(PassContext()))

    def _multiplied(self, groups: Groups, adapters: Adapters) -> Multiplied:
        parts = [self._part(groups, block, adapters.scales[block.slots]) for block in adapters.blocks]
        under = [
            (self.residents[key], groups.of(tuple(base == key for base in adapters.bases)))
            for key in dict.fromkeys(adapters.bases)
            if key != BASE
        ]
        return Multiplied(tuple(part for part in parts if part.groups.tokens), tuple(under))

    def _part(self, groups: Groups, block: Block, scales: Sequence[float]) -> Part:
        rows, own = groups.part(block.slots)
        scale = None
        if any(value != 1.0 for value in scales):
            scale = own.column(sent(torch.tensor(scales, dtype=self.dtype), self.device))
        return Part(rows, own, scale, block)

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
    plain = type(linear).forward is nn.Linear.forward  # a router of experts is a linear layer that returns more

    def multiply(x: Tensor, tokens: Multiplied) -> Tensor:
        bases = [(weights[name], under) for weights, under in tokens.bases if name in weights]
        parts = [part for part in tokens.parts if name in part.block.weights]
        if not parts and not bases:
            return base_product(x, linear.weight, linear.bias) if plain else frozen(x)
        call = _Call(name, linear, parts, bases)
        x_NI = x.reshape(-1, x.shape[-1])
        y_NO = _AdaptedLinear.apply(x_NI, patched.autograd_root, call) if context.trained else call.forward(x_NI)[0]
        return y_NO.view(*x.shape[:-1], -1)

    def forward(x: Tensor) -> Tensor:
        tokens, batch = context.heads if is_head else context.tokens, context.batch
        if tokens is None:
            return frozen(x)
        return multiply(x, tokens) if batch is None else batch.spread(multiply(batch.packed(x), tokens))

    linear.forward = forward  # type: ignore[method-assign, assignment]


def _install_mixer(module: nn.Module, argument: str, context: PassContext) -> None:
    """Have a mixer called with rows side by side, and meanwhile its linear layers with the tokens of these rows."""
    usual = module.forward

    def forward(hidden_states: Tensor, **kwargs: Any) -> Tensor:
        def call(x_CTD: Tensor, batch: Batch | None, states: Cache | None) -> Tensor:
            with context.at(batch):
                return usual(x_CTD, **{**kwargs, argument: states})  # type: ignore[no-any-return]

        if context.attention is None:
            return usual(hidden_states, **kwargs)  # type: ignore[no-any-return]
        return context.attention.mix(Mixer(module.layer_idx, call), hidden_states[0])[None]  # type: ignore[arg-type]

    module.forward = forward  # type: ignore[method-assign, assignment]


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
    """One linear layer in one pass: `y = x Wᵀ + b + the resident adapters' + the slots' own`."""

    name: str
    linear: nn.Linear
    parts: Sequence[Part]
    """Of the tokens, those whose slots have an adapter here."""
    bases: Sequence[tuple[tuple[Tensor, Tensor], Tensor | None]]
    """Resident adapters that sit here, and the tokens each of them lies under."""

    def forward(self, x_NI: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The output, and of every part what its gradients need."""
        y_NO = base_product(x_NI, self.linear.weight, self.linear.bias)
        for (a_RI, b_OR), tokens in self.bases:
            _add_product(y_NO, x_NI, a_RI.T, b_OR.T, tokens)
        return y_NO, [part.add_product(self.name, y_NO, x_NI) for part in self.parts]

    def backward(self, dy_NO: Tensor, x_NI: Tensor, *z: Tensor, wants_dx: bool) -> Tensor | None:
        """Add to the gradients of A and B; return that of the input."""
        dx_NI = dy_NO @ self.linear.weight if wants_dx else None
        if dx_NI is not None:
            for (a_RI, b_OR), tokens in self.bases:
                _add_product(dx_NI, dy_NO, b_OR, a_RI, tokens)
        for part, z_NR in zip(self.parts, z, strict=True):
            part.add_gradients(self.name, dx_NI, dy_NO, x_NI, z_NR)
        return dx_NI


def base_product(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    """`x Wᵀ + b`. A processor multiplies few rows with a large matrix faster when they stand on the right."""
    rows = x.numel() // x.shape[-1]
    if x.device.type != "cpu" or x.dtype.itemsize < 4 or not 1 < rows <= FEW or weight_OI.numel() < LARGE:
        return F.linear(x, weight_OI, bias_O)
    y_NO = (weight_OI @ x.reshape(rows, -1).T).T.contiguous()
    return (y_NO if bias_O is None else y_NO.add_(bias_O)).view(*x.shape[:-1], -1)


def _add_product(out_NO: Tensor, x_NI: Tensor, first: Tensor, second: Tensor, rows: Tensor | None) -> None:
    """`out += x · first · second`, of these rows alone: others are not even multiplied by zero, which may be NaN."""
    if rows is None:
        out_NO.addmm_(x_NI @ first, second)
    else:
        some = torch.addmm(out_NO.index_select(0, rows), x_NI.index_select(0, rows) @ first, second)
        out_NO.index_copy_(0, rows, some)


class _AdaptedLinear(torch.autograd.Function):
    """Only the input gets its gradient from autograd; A and B get theirs in place."""

    @staticmethod
    def forward(ctx, x_NI: Tensor, anchor: Tensor, call: _Call) -> Tensor:  # type: ignore[no-untyped-def]
        y_NO, z = call.forward(x_NI)
        ctx.call = call
        ctx.save_for_backward(x_NI, *z)
        return y_NO

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, None, None]:  # type: ignore[no-untyped-def]
        wants_dx = ctx.needs_input_grad[0]
        return ctx.call.backward(grads[0].contiguous(), *ctx.saved_tensors, wants_dx=wants_dx), None, None
