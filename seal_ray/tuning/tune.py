"""Tries settings on training tasks, in a directory of its own whose journal holds every trial."""

from __future__ import annotations

from collections.abc import Mapping

from seal_ray.config import Config
from seal_ray.events import Observer
from seal_ray.loop.run import stand_on
from seal_ray.loop.session import Session, open_run
from seal_ray.plain import one_line
from seal_ray.rundir.tuned import STAGE, begin, save
from seal_ray.tuning.account import Account, Known, account_of, rewards
from seal_ray.tuning.costs import Costs, text_tokens
from seal_ray.tuning.racing import FEWEST_TRIALS, Schedule, contenders, ranked
from seal_ray.tuning.space import Axes, Settings, candidates, parse_axes
from seal_ray.tuning.trying import Ground, On, attempt
from seal_ray.types import UserError, derive_seed

_PLENTY = 1_000_000


def tune(
    config: Config,
    *observers: Observer,
    trials: int = 60,
    axes: str = "",
    on: On = "auto",
    into: str = "",
    force: bool = False,
) -> Account:
    """Find trial settings for a config's model and domain; what is on record in the directory is not done again."""
    if trials < FEWEST_TRIALS:
        raise UserError(f"--trials {trials}: too few to tell settings apart by; give {FEWEST_TRIALS} or more")
    ground = Ground.of(config, into or f"{config.dir}-tune", on, force)
    config = ground.ready.config
    race = Race(trials, parse_axes(axes, Settings.of(config), config), ground)
    domain = ground.ready.domain
    with open_run(config, domain, ground.ready.identity, observers, force) as opened:
        begin(opened.store)
        opened.drive(race.over, probe=domain.prompt(ground.drawn[0]))
        tokens = text_tokens(opened.journal, STAGE, {each.name: each.optim.epochs for each in race.raced})
        account = account_of(config.dir, race.raced, race.fresh, race.costs, tokens)
        save(opened.store, account.as_json())
        return account


class Race:
    """A tuning under way: settings are tried on some of the tasks, and what is left is compared on others."""

    costs: Costs

    def __init__(self, trials: int, axes: Axes, ground: Ground) -> None:
        self._trials, self._axes, self._ground = trials, axes, ground
        self.raced: dict[Settings, Known] = {}
        """The start comes first."""
        self.fresh: dict[Settings, Known] = {}

    async def over(self, session: Session) -> None:
        """Try until a few settings are left, and hold those to the start."""
        await stand_on(session, await session.policies.begin())
        seed = derive_seed(STAGE, session.config.run.seed)
        texts = await self._ground.texts(session, Schedule.of(self._trials, _PLENTY, _PLENTY).tasks, seed)
        if len(texts) < 2:
            raise UserError("one training task is left; settings are chosen by some and held to others: give more")
        longest = max(len(recipe.examples) for _, recipe in texts)
        possible = candidates(session.config, self._axes, longest, seed)
        schedule = Schedule.of(self._trials, len(texts), len(possible))
        field = possible[: schedule.fields[0]]
        start, self.costs = field[0], Costs.of(session.config, field)
        for size, shown in schedule.stages():
            field = field[:size]
            await attempt(session, [start, *field], texts[:shown], self.raced)
            _refuse_void(self.raced)
            field = ranked(rewards(self.raced), field, self.costs)
        if chosen := contenders(rewards(self.raced), start, field, schedule.step, self.costs):
            fresh = texts[schedule.raced : schedule.tasks]
            await attempt(session, [start, *chosen], fresh, self.fresh)


def _refuse_void(known: Mapping[Settings, Known]) -> None:
    problems = [summary.problem for found in known.values() for summary in found.values()]
    if all(problems):
        raise UserError(f"all {len(problems)} trials failed, the first of them: {one_line(problems[0])}")
