"""A method of one's own to learn a text: its own words, and the same backwards, line by line.

seal-ray methods jobs/methods.toml --only passage,own_method:BothEnds      # with this file beside the config
"""

from seal_ray.domains.base import Baseline
from seal_ray.methods.base import Desk, Study
from seal_ray.methods.unwritten import Passage
from seal_ray.types import Example, Task


class BothEnds(Passage):
    async def study(self, task: Task, texts: int, desk: Desk) -> Study:
        lines = task.context.splitlines()
        backwards = Example("\n".join(reversed(lines)))
        recipe = desk.domain.train_on([*desk.domain.text(task), backwards])
        return Study(Baseline(recipe, desk.domain.questions(task)))
