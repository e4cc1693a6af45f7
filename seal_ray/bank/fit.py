"""Whether the bank computes what a model computes alone: found out with a few tokens, before anything is trained.

Letters: R rows, T tokens of a text, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from seal_ray.bank.attention import AttentionParams, CachedAttention, KVCache, PackedAttention, Unfit, bank_attention
from seal_ray.bank.generate import step_layout
from seal_ray.bank.layout import pack
from seal_ray.bank.linear import Adapters, PatchedModel
from seal_ray.bank.residents import BASE
from seal_ray.bank.rows import Row
from seal_ray.bank.slots import is_out_of_memory
from seal_ray.types import UserError

log = logging.getLogger(__name__)
WATCHED = "seal_ray_bank_watched"
"""The bank's attention, while it is noted which masks the model wants."""
LAYERS = {"full_attention", "sliding_attention"}
LENGTHS = 9, 20
"""Tokens of the two texts; on a CPU they share a line of attention."""
TOLERANCE = {torch.float64: 1e-4, torch.float32: 2e-3, torch.float16: 0.1, torch.bfloat16: 0.4}
"""How far rounding through many layers may move a prediction, in nats."""
PLAIN = Adapters({}, (1.0,), (BASE,))

_windows: ContextVar[set[int]] = ContextVar("windows of the masks that a model asked for")


def usable_positions(patched: PatchedModel) -> int:
    """How many positions of the model a text may take; `UserError` where the bank is not right for the model."""
    config: Any = patched.model.config
    text_config = config.get_text_config(decoder=True)
    odd = set(getattr(text_config, "layer_types", None) or ()) - LAYERS
    try:
        if odd:
            raise Unfit(f"it has {', '.join(sorted(odd))} layers")
        return _Check(patched, text_config).positions()
    except Unfit as error:
        why = str(error)
    except Exception as error:
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        log.debug("a model that does not fit", exc_info=True)
        why = f"it fails on two short texts ({type(error).__name__}: {(str(error) or '-').splitlines()[0]})"
    raise UserError(
        f'a model of type "{config.model_type}" does not fit the bank: {why}; give a decoder whose layers all have '
        "softmax attention, as Llama, Qwen, Gemma or Mistral have"
    )


class _Watching(PackedAttention):
    """Notes the windows that layers see their texts through."""

    windows: set[int | None]

    def attend(self, layer: int, q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, params: AttentionParams) -> Tensor:
        self.windows.add(params.window)
        return super().attend(layer, q_NHD, k_NKD, v_NKD, params)


class _Check:
    """Two texts alone, packed, packed beside one at the model's last position, and with their last token by itself."""

    def __init__(self, patched: PatchedModel, text_config: Any) -> None:
        self.patched, self.config = patched, text_config
        vocabulary = patched.vocabulary
        draw = np.random.default_rng(0)
        # From the middle of the vocabulary: tokens that stand for images and the like are at its ends.
        self.texts = [draw.integers(vocabulary // 4, vocabulary // 2, length) for length in LENGTHS]
        self.alone = [self._alone(ids) for ids in self.texts]

    def positions(self) -> int:
        positions = int(getattr(self.config, "max_position_embeddings", None) or 1 << 30)
        with self._watched() as (asked, given):
            found = self._packed(None, given)
        if not given:
            raise Unfit("its attention is not one of those that Transformers lets others compute")
        self._compare_windows(asked, given, positions)
        self._compare(found, "in one pass")
        self._compare(self._stepped(), "a token at a time", last=True)
        return self._independent(positions) if positions < 1 << 30 else positions

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
    def _packed(self, far: int | None, windows: set[int | None] | None = None) -> list[Tensor]:
        """Both texts in one pass, beside one whose last token is at the last of `positions`."""
        rows = [Row(0, ids, np.arange(len(ids))) for ids in self.texts]
        if far:
            rows.append(Row(0, self.texts[0][:2], np.empty(0, np.int64)))
        layout = pack(rows, self.patched.device, self.patched.dtype)
        if far:
            layout.position_ids[0, -1] = far - 1
        attention = _Watching(layout)
        attention.windows = set() if windows is None else windows
        with self.patched.active(layout, attention, PLAIN):
            logits_LV = self.patched.logits(layout)
        if len(logits_LV) != sum(LENGTHS):
            raise Unfit("it does not give the predictions of chosen tokens")
        return list(logits_LV.double().log_softmax(-1).split(LENGTHS))

    @torch.no_grad()
    def _stepped(self) -> list[Tensor]:
        """The prediction after each text's last token, which comes after the others, to their keys and values."""
        patched = self.patched
        cache = KVCache(len(LENGTHS), max(LENGTHS))
        layout = pack([Row(0, ids[:-1], np.array([len(ids) - 2])) for ids in self.texts], patched.device, patched.dtype)
        with patched.active(layout, PackedAttention(layout, cache), PLAIN):
            patched.logits(layout)
        last_R = torch.tensor([int(ids[-1]) for ids in self.texts], device=patched.device)
        positions_R = torch.tensor(LENGTHS, device=patched.device) - 1
        layout = replace(step_layout([0, 0], 1, patched), input_ids=last_R[None], position_ids=positions_R[None])
        with patched.active(layout, CachedAttention(cache, positions_R, max(LENGTHS)), PLAIN):
            return list(patched.logits(layout).double().log_softmax(-1).split(1))

    @property
    def _tolerance(self) -> float:
        return TOLERANCE[self.patched.dtype]

    def _compare(self, found: list[Tensor], how: str, last: bool = False) -> None:
        apart = self._apart(found, last)
        if not apart <= self._tolerance:
            raise Unfit(f"{how}, its predictions are {apart:.1g} nats from those it makes of each text alone")

    def _apart(self, found: list[Tensor], last: bool = False) -> float:
        """How far two predictions of a text lie apart, from their divergence, in nats; of the worse of the texts."""
        distances = []
        for alone_TV, found_TV in zip(self.alone, found, strict=True):
            alone_TV = alone_TV[-1:] if last else alone_TV
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

    @contextmanager
    def _watched(self) -> Iterator[tuple[set[int], set[int | None]]]:
        """The windows of the masks that the model wanted meanwhile, and a place for those that layers pass on."""
        asked: set[int] = set()
        usual, self.patched.implementation = self.patched.implementation, WATCHED
        token = _windows.set(asked)
        try:
            yield asked, set()
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
