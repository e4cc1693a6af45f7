"""A grader of one's own: an answer is right in so far as it names the words of the gold answer, in any order.

seal-ray run CONFIG --grading.name own_grader:Words --grading.options.least 0.5     # with this file beside CONFIG
"""

from collections.abc import Sequence

from seal_ray import Item


class Words:
    def __init__(self, least: float = 0.5) -> None:
        self.least = least

    async def grade(self, items: Sequence[Item]) -> list[float]:
        shares = [self._share(item) for item in items]
        return [share if share >= self.least else 0.0 for share in shares]

    def _share(self, item: Item) -> float:
        gold = set(item.gold.lower().split())
        return len(gold & set(item.answer.lower().split())) / len(gold)
