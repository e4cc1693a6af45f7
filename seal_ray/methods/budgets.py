"""As many texts as stay within a budget of tokens: of those that are written, or of those that are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from seal_ray.domains.base import Studied
from seal_ray.methods.base import Desk, Method, Study, study_of
from seal_ray.types import Example, OptimSpec, Prompt, Task, UserError

Tokens = Callable[[Study], float]
"""How many tokens of a budget a study takes."""


async def within(budget: int, tokens: Tokens, method: Method, task: Task, desk: Desk) -> tuple[int, Study]:
    """How many texts fit into a budget of tokens, and the study of so many.

    What is written beyond them to find that out is on record and not trained on; it is a text or a few.
    """
    texts, study = 0, await study_of(method, task, 0, desk)
    tried = 1
    while tokens(more := await study_of(method, task, tried, desk)) <= budget:
        texts, study = tried, more
        spent = tokens(more)
        like_these = int((budget - spent) * tried // spent)  # so many more fit if they are as long as those so far
        tried += min(max(1, like_these), tried)
    for fewer in range(tried - 1, texts, -1):
        if tokens(some := await study_of(method, task, fewer, desk)) <= budget:
            return fewer, some
    return texts, study


def written(study: Study) -> float:
    """The tokens that were written; an empty text counts as one token, so that every budget comes to an end."""
    return sum(max(1, edit.tokens) for edit in study.edits)


def trained(count: Callable[[Prompt], float]) -> Tokens:
    """The tokens trained on over all epochs, by this count, and no fewer than were written for them."""
    count = cache(count)

    def tokens(study: Study) -> float:
        recipe = study.trial.recipe
        if recipe is None:
            return 0.0
        return max(trained_on(recipe.examples, recipe.optim, count), recipe.optim.epochs * written(study))

    return tokens


def check_trained(least: int, domain: Studied, tasks: Sequence[Task], count: Callable[[Prompt], float]) -> None:
    """Refuse a budget in which a text itself has no room: nothing could be held to it."""
    recipes = {task.id: domain.train_on(domain.text(task)) for task in tasks}
    alone = {task: trained_on(recipe.examples, recipe.optim, count) for task, recipe in recipes.items()}
    longest = max(alone, key=lambda each: alone[each])
    if alone[longest] > least:
        raise UserError(
            f"evaluation.trained_budgets: {least:,} tokens are fewer than the text of {longest} itself trains on over "
            f"all epochs, {alone[longest]:,.0f}; give no fewer than that"
        )


def trained_on(examples: Sequence[Example], optim: OptimSpec, count: Callable[[Prompt], float]) -> float:
    """The tokens of these over all epochs, by this count; what a chat's template adds is left out."""
    texts = (text for each in examples for text in (each.prompt, each.completion) if text)
    return optim.epochs * sum(map(count, texts))
