"""The network: what a base's layers saw of a passage, and which token came after, summed up as a LoRA adapter.

Of every linear layer it remembers pairs, and lays on it what answers to them: with x what the layer is given at a
token, e the embedding of the token that follows, both brought to one length,

    M = Σ (V e) (K x)ᵀ over the tokens,    A = K,    B = U · √R · M / |M|

so that an input like x calls up what followed it. K, V and U are learnt; A is the same for every passage. A sum over
tokens knows no length: a passage is read in parts as well as at once.

Letters: N texts, T tokens of the longest, P passages, G numbers of a network, E width of an embedding, I in, O out,
R rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seal_ray.bank.lora import TargetModule
from seal_ray.generator.reading import Read
from seal_ray.types import derive_seed

Memories = dict[str, Tensor]
"""M `[P, R, R]` by module."""
Factors = dict[str, tuple[Tensor, Tensor]]
"""A `[R, I]` and B `[P, O, R]` by module."""


@dataclass(frozen=True)
class Network:
    """Its shape; what it has learnt is one row of numbers beside it."""

    modules: tuple[TargetModule, ...]
    embedding: int
    rank: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return sum(map(self._of, self.modules))

    def parts(self, numbers_G: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """K `[R, I]`, V `[R, E]` and U `[O, R]` of every module, as views."""
        found, rest = {}, numbers_G
        for each in self.modules:
            shapes = (self.rank, each.width_in), (self.rank, self.embedding), (each.width_out, self.rank)
            *mine, rest = rest.split([*(rows * columns for rows, columns in shapes), rest.numel() - self._of(each)])
            k_RI, v_RE, u_OR = (part.view(shape) for part, shape in zip(mine, shapes, strict=True))
            found[each.name] = k_RI, v_RE, u_OR
        return found

    def _of(self, module: TargetModule) -> int:
        return self.rank * (module.width_in + module.width_out + self.embedding)

    def initial(self, seed: int, dtype: torch.dtype) -> Tensor:
        """Where training begins: U is zero, so that what is written changes nothing. Drawn on the CPU."""
        numbers_G = torch.zeros(self.size, dtype=dtype)
        generator = torch.Generator().manual_seed(derive_seed("generator", seed))
        for k_RI, v_RE, _ in self.parts(numbers_G).values():
            for part in (k_RI, v_RE):
                part.normal_(0.0, part.shape[1] ** -0.5, generator=generator)
        return numbers_G

    def remembered(self, numbers_G: Tensor, read: Read, passages: int) -> Memories:
        """What these texts leave in the memories of their passages, to be added to what other texts left."""
        following_NTE = _of_one_length(read.following_NTE.to(numbers_G.dtype)) * read.followed_NT[..., None]
        found = {}
        for name, (k_RI, v_RE, _) in self.parts(numbers_G).items():
            keys_NTR = _of_one_length(read.given[name].to(numbers_G.dtype)) @ k_RI.T
            m_NRR = (following_NTE @ v_RE.T).mT @ keys_NTR
            found[name] = m_NRR.new_zeros(passages, self.rank, self.rank).index_add(0, read.passage_N, m_NRR)
        return found

    def written(self, numbers_G: Tensor, memories: Mapping[str, Tensor]) -> Factors:
        """An adapter for each passage."""
        found = {}
        for name, (k_RI, _, u_OR) in self.parts(numbers_G).items():
            m_PRR = memories[name]
            square_P11 = m_PRR.square().sum((1, 2), keepdim=True)
            # A passage of one token has left nothing, and a root has no gradient at zero.
            norm_P11 = (square_P11 + torch.finfo(m_PRR.dtype).eps).sqrt()
            found[name] = k_RI, u_OR @ (self.rank**0.5 * m_PRR / norm_P11)
        return found


def _of_one_length(x: Tensor) -> Tensor:
    return torch.nn.functional.rms_norm(x, x.shape[-1:])
