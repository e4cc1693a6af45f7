"""Two ways of one's own: a lesson begins where the order did, or with the earlier lesson that its texts are most like.

seal-ray run jobs/streams.toml --continual.ways '["own_start:Alone", "own_start:Similar"]'    # this file beside it
seal-ray eval runs/streams-1 --over own_start:Alone
"""

from collections.abc import Sequence

from seal_ray.adapters.lora import Adapter
from seal_ray.continual.base import Keeps, Likelihoods, Stand
from seal_ray.continual.library import Index
from seal_ray.continual.plain import Merge
from seal_ray.types import BASE, Example


class Alone(Merge):  # the last lesson is what is asked
    keeps: Keeps = "mixed"

    def base(self, stand: Stand) -> Adapter | None:
        return stand.start

    async def enter(self, stand: Stand, learned: Adapter, likelihoods: Likelihoods) -> Adapter | None:
        return await self.total(stand.below, learned)


class Similar(Alone):  # and that lesson began with another before it, and so on
    def base(self, stand: Stand) -> Adapter | None:
        texts, lessons = stand.new, [lesson for lesson in stand.lessons if lesson.adapter != BASE]
        below = list[Adapter]()
        while lessons:
            said = [_said(lesson.recipe.examples) for lesson in lessons]
            (place,) = Index(said).closest(_said(texts), 1)
            below.append(stand.load(lessons[place].adapter))
            texts, lessons = lessons[place].recipe.examples, lessons[:place]
        return self.sum(stand.start, *below)


def _said(texts: Sequence[Example]) -> str:
    return "\n".join(text.completion for text in texts)
