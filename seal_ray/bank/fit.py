"""Whether the bank computes what a model computes alone: found out with a few tokens, before anything is trained.

Letters: R rows, T tokens of a text, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from seal_ray.bank.attention import (
    AttentionParams,
    CachedAttention,
    ContinuedAttention,
    KVCache,
    PackedAttention,
    Unfit,
    bank_attention,
)
from seal_ray.bank.layout import Layout, pack
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.memory import is_out_of_memory
from seal_ray.bank.mixing import Mixer
from seal_ray.bank.residents import BASE
from seal_ray.bank.rows import Row
from seal_ray.bank.writing import step_layout
from seal_ray.model.kinds import KNOWN
from seal_ray.types import UserError

log = logging.getLogger(__name__)
WATCHED = "seal_ray_bank_watched"
"""The bank's attention, while it is noted which masks the model wants."""
WITH_STATES = {"linear_attention", "conv", "hybrid"}
"""Kinds of layers that carry a state along a text."""
LAYERS = {"full_attention", "sliding_attention", "moe", "mlp"} | WITH_STATES
LENGTHS = 9, 20
"""Tokens of the two texts; on a CPU they share a line of attention."""
CONTINUED = 3
"""Tokens of a text that go on from where the tokens before them were read."""
TOLERANCE = {torch.float64: 1e-4, torch.float32: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.4}
"""How far rounding through many layers may move a prediction, in nats."""
PLAIN = Adapters.none([BASE])

_windows: ContextVar[set[int]] = ContextVar("windows of the masks that a model asked for")


@dataclass(frozen=True)
class Fit:
    """What was found out of a model that the bank is right for."""

    positions: int
    """How many of its positions a text may take."""
    row_tokens: int
    """What a text's states take while it is answered, in tokens whose keys and values would take as much."""


def examine(patched: PatchedModel) -> Fit:
    """`UserError` where the bank is not right for the model."""
    config: Any = patched.model.config
    text_config = config.get_text_config(decoder=True)
    odd = set(getattr(text_config, "layer_types", None) or ()) - LAYERS
    try:
        if odd:
            raise Unfit(f"it has {', '.join(sorted(odd))} layers")
        return _Check(patched, text_config).fit()
    except Unfit as error:
        why = str(error)
    except Exception as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        log.debug("a model that does not fit", exc_info=True)
        why = f"it fails on two short texts ({type(error).__name__}: {(str(error) or '-').splitlines()[0]})"
    raise UserError(f'a model of type "{config.model_type}" does not fit the bank: {why}; {KNOWN}')


@dataclass
class _Seen:
    """What came to the bank of a model's layers."""

    windows: set[int | None] = field(default_factory=set)
    """That layers see their texts through."""
    mixers: set[int] = field(default_factory=set)
    """Layers that carry a state."""


class _Watching(PackedAttention):
    """Notes what comes of the model's layers."""

    seen: _Seen

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        self.seen.windows.add(params.window)
        return super().attend(layer, q_NHD, k_NKD, v_NKD, params)

    def mix(self, mixer: Mixer, x_ND: Tensor) -> Tensor:
        self.seen.mixers.add(mixer.layer)
        return super().mix(mixer, x_ND)


class _Check:
    """Two texts alone, packed, packed beside one at the model's last position, and with their last token by itself."""

    def __init__(self, patched: PatchedModel, text_config: Any) -> None:
        self.patched, self.config = patched, text_config
        vocabulary = patched.vocabulary
        draw = np.random.default_rng(0)
        # From the middle of the vocabulary: tokens that stand for images and the like are at its ends.
        self.texts = [draw.integers(vocabulary // 4, vocabulary // 2, length) for length in LENGTHS]
        self.alone = [self._alone(ids) for ids in self.texts]

    def fit(self) -> Fit:
        positions = int(getattr(self.config, "max_position_embeddings", None) or 1 << 30)
        with self._watched() as (asked, seen):
            found = self._packed(None, seen)
        if not seen.windows and not seen.mixers:
            raise Unfit("its attention is not one of those that Transformers lets others compute")
        self._compare_windows(asked, seen.windows, positions)
        self._compare_mixers(seen.mixers)
        self._compare(found, "in one pass")
        self._isolated()
        stepped, cache = self._stepped()
        self._compare(stepped, "a token at a time")
        if seen.mixers:
            self._compare(self._stepped(CONTINUED)[0], "a part at a time")
            self._forgets_nothing(cache)
        return Fit(self._independent(positions) if positions < 1 << 30 else positions, cache.row_tokens)

    def _independent(self, positions: int) -> int:
        """The positions among which none changes what others get, as it does where RoPE follows the longest text."""
        originals = [*_originals(self.config.to_dict())]
        for far in sorted({positions, *(length for length in originals if 1 < length < positions)}, reverse=True):
            if self._apart(self._packed(far)) <= self._tolerance:
                if far < positions:
                    log.warning(
                        "beyond %d of its %d positions a text changes its neighbours'; not used", far, positions
                    )
                return far
        raise Unfit("its position embedding follows the longest text of a pass")

    @torch.no_grad()
    def _alone(self, ids: np.ndarray) -> Tensor:
        """`[T, V]`"""
        input_ids = torch.from_numpy(ids)[None].to(self.patched.device)
        alone_TV = self.patched.model(input_ids=input_ids, use_cache=False).logits[0].double().log_softmax(-1)
        if bool(alone_TV.isnan().any()):
            raise UserError(f"the model's predictions are not finite in {self.patched.dtype}; take another model.dtype")
        return alone_TV

    @torch.no_grad()
    def _packed(self, far: int | None, seen: _Seen | None = None) -> list[Tensor]:
        """Both texts in one pass, beside one whose last token is at the last of `positions`."""
        rows = [Row(0, ids, np.arange(len(ids))) for ids in self.texts]
        if far:
            rows.append(Row(0, self.texts[0][:2], np.empty(0, np.int64)))
        layout = pack(rows, self.patched.device, self.patched.dtype, ragged=self.patched.ragged)
        if far:
            layout.position_ids[0, -1] = far - 1
        attention = _Watching(layout)
        attention.seen = seen or _Seen()
        with self.patched.active(layout, attention, PLAIN):
            logits_LV = self.patched.logits(layout)
        if len(logits_LV) != sum(LENGTHS):
            raise Unfit("it does not give the predictions of chosen tokens")
        return list(logits_LV.double().log_softmax(-1).split(LENGTHS))

    @torch.no_grad()
    def _isolated(self) -> None:
        """No number is in a text that stands between two others of other slots: whatever came of it would be none."""
        first, middle = self.texts
        rows = [Row(slot, ids, np.arange(len(ids))) for slot, ids in enumerate((first, middle, first))]
        layout = pack(rows, self.patched.device, self.patched.dtype, ragged=self.patched.ragged)
        own = slice(len(first), len(first) + len(middle))

        def spoil(_: nn.Module, __: Any, embedded_1ND: Tensor) -> Tensor:
            spoilt_1ND = torch.full_like(embedded_1ND, float("nan"))
            spoilt_1ND[:, own] = embedded_1ND[:, own]
            return spoilt_1ND

        embeddings: Any = self.patched.model.get_input_embeddings()  # type: ignore[operator]
        hook = embeddings.register_forward_hook(spoil)
        try:
            with self.patched.active(layout, PackedAttention(layout), Adapters.none([BASE] * len(rows))):
                logits_LV = self.patched.logits(layout)
        finally:
            hook.remove()
        if not bool(logits_LV[own].isfinite().all()):
            raise Unfit("in one pass, its texts reach each other")

    def _forgets_nothing(self, cache: KVCache) -> None:
        """Each kind of state matters to a text that goes on from it, or it was not gone on from."""
        for kind in sorted({kind for states in cache.states.values() for kind in states.kinds}):
            if not all(bool(found_TV.isnan().any()) for found_TV in self._stepped(CONTINUED, spoilt=kind)[0]):
                raise Unfit(f"a part of a text does not go on from the {kind[0].replace('_', ' ')} of that before it")

    @torch.no_grad()
    def _stepped(self, continued: int = 0, spoilt: tuple[str, int] | None = None) -> tuple[list[Tensor], KVCache]:
        """The predictions after each text's last tokens, two of which go through the model one at a time.

        Those before them are read together; the last `continued` of these after the rest, as those of prompts that
        begin alike are, from states of which the `spoilt` ones are no numbers.
        """
        patched, rows_R = self.patched, torch.arange(len(LENGTHS), device=self.patched.device)
        cache, steps = KVCache(len(LENGTHS), max(LENGTHS)), 2
        layout = self._part(0, -steps - continued)
        found: list[list[Tensor]] = [[], []]
        with patched.active(layout, PackedAttention(layout, cache), PLAIN):
            patched.logits(layout)
        if continued:
            layout = self._part(-steps - continued, -steps)
            before = {layer: states.of(rows_R) for layer, states in cache.states.items()}
            for states in before.values():
                if spoilt in states.kinds:
                    states.kinds[spoilt].fill_(float("nan"))
            begins = np.array(LENGTHS) - steps - continued
            layout, attention = ContinuedAttention.after(layout, cache, np.arange(len(LENGTHS)), begins, before)
            with patched.active(layout, attention, PLAIN):
                parts = patched.logits(layout).split(continued)
            found = [[part_TV] for part_TV in parts]
        for step in range(steps, 0, -1):
            tokens_R = torch.tensor([int(ids[-step]) for ids in self.texts], device=patched.device)
            positions_R = torch.tensor(LENGTHS, device=patched.device) - step
            layout = replace(step_layout([0, 0], 1, patched), input_ids=tokens_R[None], position_ids=positions_R[None])
            with patched.active(layout, CachedAttention(cache, None, positions_R, max(LENGTHS)), PLAIN):
                parts = patched.logits(layout).split(1)
            found = [[*before_TV, part_TV] for before_TV, part_TV in zip(found, parts, strict=True)]
        return [torch.cat(parts_TV).double().log_softmax(-1) for parts_TV in found], cache

    def _part(self, start: int, end: int) -> Layout:
        """A part of both texts, and the predictions after each of its tokens."""
        rows = [Row(0, ids[start:end], np.arange(len(ids[start:end]))) for ids in self.texts]
        return pack(rows, self.patched.device, self.patched.dtype, ragged=self.patched.ragged)

    @property
    def _tolerance(self) -> float:
        return TOLERANCE[self.patched.dtype]

    def _compare(self, found: list[Tensor], how: str) -> None:
        apart = self._apart(found)
        if not apart <= self._tolerance:
            raise Unfit(f"{how}, its predictions are {apart:.1g} nats from those it makes of each text alone")

    def _apart(self, found: list[Tensor]) -> float:
        """How far predictions of a text, or of its end, are apart by their divergence, in nats; of the worse text."""
        distances = []
        for alone_TV, found_TV in zip(self.alone, found, strict=True):
            alone_TV = alone_TV[-len(found_TV) :]
            probs_TV = alone_TV.exp()
            divergence_T = torch.where(probs_TV > 0, probs_TV * (alone_TV - found_TV), 0.0).sum(-1)
            distances.append(float((2 * divergence_T.clamp_min(0)).sqrt().mean()))
        return max(distances) if all(distance == distance for distance in distances) else float("nan")

    def _compare_windows(self, asked: set[int], given: set[int | None], positions: int) -> None:
        """Texts this short are all within a window, so a layer that was not told of its own is found by its mask."""
        kinds = getattr(self.config, "layer_types", None)
        asked = asked if not kinds or "sliding_attention" in kinds else set()
        ours = {window for window in given if window is not None and window < positions}
        theirs = {window for window in asked if window < positions}
        if ours != theirs:
            raise Unfit(f"its masks have windows of {_listed(theirs)} and its layers see {_listed(ours)}")

    def _compare_mixers(self, mixers: set[int]) -> None:
        """A layer whose state is nowhere reset may change so little in a random text that numbers do not tell."""
        kinds = enumerate(getattr(self.config, "layer_types", None) or ())
        if strange := {kind for layer, kind in kinds if kind in WITH_STATES and layer not in mixers}:
            raise Unfit(f"its {', '.join(sorted(strange))} layers are not of a kind whose states the bank keeps apart")

    @contextmanager
    def _watched(self) -> Iterator[tuple[set[int], _Seen]]:
        """The windows of the masks that the model wanted meanwhile, and a place for what its layers bring."""
        asked: set[int] = set()
        usual, self.patched.implementation = self.patched.implementation, WATCHED
        token = _windows.set(asked)
        try:
            yield asked, _Seen()
        finally:
            _windows.reset(token)
            self.patched.implementation = usual


def _note_mask(*_: Any, local_size: int | None = None, **__: Any) -> None:
    """Note which mask a model wants, instead of making it."""
    if local_size is not None:
        _windows.get().add(local_size)


def _originals(config: Any) -> Iterator[int]:
    """The lengths that a rotary embedding was first made for, wherever a config names them."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name == "original_max_position_embeddings" and isinstance(value, int):
                yield value
            else:
                yield from _originals(value)


def _listed(windows: set[int]) -> str:
    return ", ".join(map(str, sorted(windows))) if windows else "none"


ALL_ATTENTION_FUNCTIONS.register(WATCHED, bank_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(WATCHED, _note_mask)
