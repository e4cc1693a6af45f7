"""The training tasks a self-edit chooses: demonstrations left out, augmented, recoloured and reordered.

From N demonstrations come the tasks that hold one (or two) of them back, of which one is to be solved. Every chosen
augmentation turns each of these into another; equal ones are kept once; then each is also taken with one random
permutation of colours and of demonstrations. What is random depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from seal_ray.domains.arc import augment
from seal_ray.domains.arc.augment import Augment, Recolour, Translate
from seal_ray.domains.arc.grids import MAX_SIDE, Grid, to_array

PairArrays = tuple[np.ndarray, np.ndarray]
Pair = tuple[Grid, Grid]


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """Demonstrations, and the pair to be solved after them. Arrays are shared between tasks: do not write to them."""

    demos: tuple[PairArrays, ...]
    asked: PairArrays

    @property
    def text(self) -> int:
        """Characters it takes to write the grids down."""
        return sum(array.shape[0] * (2 * array.shape[1] + 3) for pair in (*self.demos, self.asked) for array in pair)

    def changed(self, change: Augment, order: Sequence[int]) -> TrainingTask:
        pairs = [tuple(change.apply(array_HW) for array_HW in self.demos[i]) for i in order]
        return TrainingTask(tuple(pairs), (change.apply(self.asked[0]), change.apply(self.asked[1])))  # type: ignore[arg-type]


def augmentations(basic: bool, size: bool, chain: bool, repeat: bool) -> tuple[Augment | type[Translate], ...]:
    """What the four switches of a self-edit turn on."""
    groups = ((basic, augment.BASIC), (size, augment.SIZE), (chain, augment.CHAIN), (repeat, augment.REPEAT))
    return tuple(item for on, group in groups if on for item in group)  # type: ignore[attr-defined]


def held_back(count: int, left_out: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Each demonstration held back in turn, `left_out` - 1 of the others dropped: (those shown, the one held back)."""
    for asked in range(count):
        others = [i for i in range(count) if i != asked]
        for dropped in combinations(others, left_out - 1):
            yield tuple(i for i in others if i not in dropped), asked


def leave_out(
    demos: Sequence[Pair],
    left_out: int,
    chosen: Sequence[Augment | type[Translate]],
    rng: np.random.Generator | None = None,
) -> list[TrainingTask]:
    """All tasks with `left_out` demonstrations held back, plain and augmented, equal ones once.

    Augmented tasks with a side over 30 are left out. Shifts are drawn from `rng`; without one there are none.
    """
    plain: list[PairArrays] = [(to_array(given), to_array(wanted)) for given, wanted in demos]
    found: dict[tuple[int, ...], TrainingTask] = {}
    numbers: dict[tuple[tuple[int, int], bytes, tuple[int, int], bytes], int] = {}

    def number(pair: PairArrays) -> int:
        """Equal pairs get equal numbers, so that whole tasks compare as short tuples."""
        key = (pair[0].shape, pair[0].tobytes(), pair[1].shape, pair[1].tobytes())
        return numbers.setdefault(key, len(numbers))  # type: ignore[arg-type]

    def add(shown: Sequence[int], asked: int, pairs: Sequence[PairArrays], known: Sequence[int]) -> None:
        task = TrainingTask(tuple(pairs[i] for i in shown), pairs[asked])
        found.setdefault(tuple(known[i] for i in (*shown, asked)), task)

    def transformed(change: Augment) -> list[PairArrays]:
        return [(change.apply(given), change.apply(wanted)) for given, wanted in plain]

    known = [number(pair) for pair in plain]
    for shown, asked in held_back(len(plain), left_out):
        add(shown, asked, plain, known)
    for item in chosen:
        if isinstance(item, type):
            for shown, asked in held_back(len(plain), left_out) if rng is not None else ():
                pairs = transformed(item.draw(rng))  # type: ignore[arg-type]
                add(shown, asked, pairs, [number(pair) for pair in pairs])
            continue
        pairs = transformed(item)
        known = [number(pair) for pair in pairs]
        small = [max(*given.shape, *wanted.shape) <= MAX_SIDE for given, wanted in pairs]
        for shown, asked in held_back(len(plain), left_out):
            if all(small[i] for i in (*shown, asked)):
                add(shown, asked, pairs, known)
    return list(found.values())


def training_tasks(
    demos: Sequence[Pair], chosen: Sequence[Augment | type[Translate]], limit: int, max_text: int, seed: int
) -> list[TrainingTask]:
    """At most `limit` tasks of at most `max_text` characters. Those that hold one demonstration back come first, those
    that hold back two fill up.

    Empty when there is only one demonstration: with it held back nothing is left to show.
    """
    rng = np.random.default_rng(seed)
    picked: list[TrainingTask] = []
    for left_out in (1, 2):
        if len(picked) == limit or len(demos) <= left_out:
            break
        tasks = [task for task in leave_out(demos, left_out, chosen, rng) if task.text <= max_text]
        for index in rng.permutation(2 * len(tasks))[: limit - len(picked)]:
            task = tasks[index // 2]
            if index % 2:
                task = task.changed(Recolour.draw(rng), rng.permutation(len(task.demos)).tolist())
            picked.append(task)
    return picked
