"""How much is done: enough for figures on a GPU, or next to nothing, to try all of it on a processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything. What is not said is of a check on a GPU, whose parts are to take four minutes each."""

    dtype: str = "bfloat16"
    """Of all but the comparisons."""
    recipes: int = 8
    """Trainings that are compared on a tiny model, of the reference's own eight."""
    most_epochs: int = 60
    """Of each of them."""
    trainings: int = 3
    """Trainings that are compared on the weights that are given."""
    texts_each: int = 12
    """What each of these trains on."""
    answers: int = 64
    """Questions that are answered alone and in company."""
    shape: str = "qwen2.5-7b"
    slots: tuple[int, ...] = (1, 8, 32, 128)
    texts: int = 128
    """That training steps are timed on; a multiple of the most slots."""
    padded: int = 2
    pairs: int = 2
    """How often a variant is measured; medians are shown."""
    repeats: int = 50
    """Of a product or an attention that is timed by itself."""
    matmul_seconds: float = 1.0
    samples: int = 64
    """Texts written at once, as many as a run's own sampler writes."""
    prompt_tokens: int = 160
    new_tokens: int = 128


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The size of the paper's experiment; as given, that of the paper itself."""

    passages: int = 50
    candidates: int = 5
    seeds: int = 3
    rounds: int = 2
    held_out: int = 200

    @property
    def trials(self) -> int:
        """Of a round."""
        return self.passages * self.candidates * self.seeds


FULL = Scale()
REHEARSAL = Scale(
    dtype="float32",
    recipes=2,
    most_epochs=4,
    trainings=2,
    texts_each=2,
    answers=6,
    shape="qwen2.5-tiny",
    slots=(1, 4),
    texts=4,
    padded=1,
    pairs=1,
    repeats=2,
    matmul_seconds=0.05,
    samples=4,
    prompt_tokens=16,
    new_tokens=8,
)
LITTLE = Experiment(passages=2, candidates=2, seeds=1, rounds=2, held_out=2)
