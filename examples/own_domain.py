"""A domain of one's own: names that stand for numbers, learnt from notes and recalled with the text out of sight.
seal-ray run CONFIG --domain.name own_domain:Nicknames      # with this file beside CONFIG"""

from dataclasses import dataclass

from seal_ray import Baseline, Example, Grade, LoraSpec, OptimSpec, Question, Recipe, Task


class Nicknames:
    @dataclass(frozen=True)
    class Options:
        names: tuple[str, ...] = ("Ash", "Birch", "Cedar", "Dogwood", "Elm", "Fir")

    name, schema, stop, sample_stop = "nicknames", None, ("\n",), ("\n\n",)

    def __init__(self, options: Options, lora: LoraSpec, optim: OptimSpec) -> None:
        self.options, self.lora, self.optim = options, lora, optim

    def tasks(self, split: str, count: int | None, seed: int) -> list[Task]:
        half = self.options.names[split == "test" :: 2]  # no name is in both splits
        return [Task(n, n, f"{n} is {len(n)}.", (Question(f"{n} is", str(len(n))),)) for n in half[:count]]

    def prompt(self, task: Task) -> str:
        return f"{task.context}\nWhat follows from this:\n"

    def recipe(self, task: Task, completion: str, seed: int) -> Recipe:
        return Recipe((Example(completion), Example(task.context)), self.lora, self.optim)

    def baseline(self, name: str, task: Task, seed: int) -> Baseline | None:
        return Baseline(None, self.questions(task)) if name == "base" else None

    def questions(self, task: Task) -> tuple[str, ...]:
        return tuple(str(question.prompt) for question in task.questions)

    def statements(self, task: Task) -> tuple[Example, ...]:
        return ()  # nothing whose likelihood may serve as a reward

    async def grade(self, task: Task, answers: list[str]) -> Grade:
        right = float(answers[0].strip() == task.questions[0].answer)
        return Grade((right,), right)
