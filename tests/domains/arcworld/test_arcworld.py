"""The grid world: its rules, its tasks, its decisions."""

import asyncio
import itertools
import random
import subprocess
import sys

import pytest

from seal_ray.domains.arcworld import ArcWorld, decision, world
from seal_ray.domains.arcworld.domain import FIXED
from seal_ray.domains.arcworld.world import Cells
from seal_ray.types import DataError, OptimSpec


def test_the_moves_are_dealt_out_without_overlap() -> None:
    shares = {part: set(moves) for part, moves in world.MOVES.items()}
    assert {part: len(moves) for part, moves in shares.items()} == {"base": 36, "train": 18, "test": 17}
    assert len(set.union(*shares.values())) == 71


def test_every_move_is_a_permutation_that_moves_something() -> None:
    for move in itertools.chain(*world.MOVES.values()):
        assert sorted(move) == list(range(9))
        assert move != tuple(range(9))


def test_zones_look_the_same_from_every_side() -> None:
    assert len(world.TURNS) == 7
    for source in world.TURNS:
        for zone in world.ZONES.values():
            assert {source[i] for i in zone} == set(zone)


@pytest.mark.parametrize("family", ["swap", "paint", "derange", "zswap", "dpaint", "dpaint2"])
def test_a_turned_puzzle_obeys_the_same_rule_unless_it_is_a_move(family: world.Family) -> None:
    rng = random.Random(1)
    for _ in range(20):
        rule, pairs = world.draw_pairs(family, "test", rng)
        for source in world.TURNS:
            for pair in pairs:
                given, wanted = world.turn(pair, source)
                assert rule.apply(given) == wanted


def test_a_recoloured_move_is_the_same_move_and_a_turned_one_is_not() -> None:
    rule, pairs = world.draw_pairs("move", "test", random.Random(2))
    colours = (3, 1, 2, 0, 7, 6, 5, 4)
    assert all(rule.apply(given) == wanted for given, wanted in (world.recolour(pair, colours) for pair in pairs))
    broken = [
        source
        for source in world.TURNS
        if any(rule.apply(given) != wanted for given, wanted in (world.turn(p, source) for p in pairs))
    ]
    assert broken


def test_every_family_does_what_its_name_says() -> None:
    rng = random.Random(3)
    for _ in range(50):
        palette = rng.sample(range(8), 5)
        derange = world.draw_rule("derange", palette, "base", rng)
        assert all(derange.colours[c] != c and derange.colours[c] in palette for c in palette)
        swap = world.draw_rule("swap", palette, "base", rng)
        assert sum(swap.colours[c] != c for c in range(8)) == 2
        zswap = world.draw_rule("zswap", palette, "train", rng)
        assert 0 < len(zswap.zone) < 9
        painted = dict(world.draw_rule("dpaint2", palette, "test", rng).paint)
        assert 0 < len(painted) < 9
        assert len(set(painted.values())) == 2


def test_tasks_are_the_same_for_the_same_seed_and_fresh_for_another() -> None:
    domain = ArcWorld()
    first, again, other = (domain.tasks("test", 12, seed) for seed in (1, 1, 2))
    assert first == again
    assert {task.context for task in first}.isdisjoint(task.context for task in other)
    assert list(domain.tasks("test", 5, 1)) == list(first[:5])
    assert len(domain.tasks("test", None, 1)) == 120


def test_training_and_test_tasks_have_other_moves_and_other_families() -> None:
    domain = ArcWorld()
    train, test = domain.tasks("train", 60, 1), domain.tasks("test", 60, 1)
    assert {task.family for task in train} == {"move", "zswap", "dpaint"}
    assert {task.family for task in test} == {"move", "zswap", "dpaint2"}
    moves = [{task.rule.source for task in tasks if task.family == "move"} for tasks in (train, test)]
    assert moves[0].isdisjoint(moves[1])


def test_a_task_shows_what_its_rule_does_and_never_its_target() -> None:
    for task in ArcWorld().tasks("test", 30, 7):
        assert all(task.rule.apply(given) == wanted for given, wanted in (*task.demos, (task.test, task.target)))
        assert len({given for given, _ in (*task.demos, (task.test, task.target))}) == 5
        assert str(task.questions[0].prompt).endswith(f"; {world.write_input(task.test)} >")
        assert str(ArcWorld().prompt(task)).split().count(">") == 4


def test_cells_read_back_as_they_were_written() -> None:
    cells: Cells = (0, 1, 2, 3, 4, 5, 6, 7, 0)
    text = world.write_output(cells)
    assert world.write_input(cells) == "a0 b1 c2 d3 e4 f5 g6 h7 i0"
    assert world.read_output(f"{text} ; and more") == cells
    for broken in (
        "",
        "a0 b1",
        text.replace("B1", "C1"),
        text.replace("A0", "A9"),
        text.replace("A0", "A"),
        text.lower(),
        "x " * 9,
    ):
        assert world.read_output(broken) is None


def test_a_decision_reads_back_and_a_broken_one_says_where() -> None:
    chosen = decision.parse("turns=on recolour=off copies=4 loss=outputs lr=5e-3 epochs=3")
    assert chosen == decision.Decision(True, False, 4, False, 5e-3, 3)
    for text, reason in (
        ("", "0 words, expected 6"),
        (FIXED.replace("copies=8", "copies=9"), "'copies=9' where copies= should be one of 4, 8, 12"),
        (FIXED.replace("lr=1e-2", "epochs=1"), "'epochs=1' where lr= should"),
        (f"{FIXED} {FIXED}", "12 words"),
    ):
        with pytest.raises(DataError, match="self-edit: ") as error:
            decision.parse(text)
        assert reason in str(error.value)


def test_all_decisions_are_valid_and_different() -> None:
    everything = list(decision.candidates())
    assert len(set(everything)) == 288
    assert len(set(ArcWorld().candidates())) == 36
    assert set(ArcWorld().candidates()) < set(everything)
    assert len({decision.parse(text) for text in everything}) == 288
    assert decision.draw(random.Random(0)) in everything


def test_a_recipe_trains_on_every_demonstration_held_back_in_turn() -> None:
    domain = ArcWorld()
    (task,) = domain.tasks("test", 1, 1)
    recipe = domain.recipe(task, "turns=off recolour=off copies=4 loss=all lr=1e-2 epochs=3", 5)
    assert len(recipe.examples) == 16
    assert recipe.optim == OptimSpec(lr=1e-2, epochs=3, batch_size=4, schedule="linear", betas=(0.9, 0.99))
    assert all(example.learn_prompt for example in recipe.examples)
    outputs = [example.completion for example in recipe.examples]
    assert sorted(outputs) == sorted(4 * [world.write_output(wanted) for _, wanted in task.demos])
    for example in recipe.examples:
        words = str(example.prompt).split()
        assert words.count(">") == 4
        assert world.write_input(task.test) not in str(example.prompt)


def test_augmented_copies_of_a_puzzle_still_obey_one_rule() -> None:
    domain = ArcWorld()
    task = next(task for task in domain.tasks("test", 3, 1) if task.family == "dpaint2")
    recipe = domain.recipe(task, "turns=on recolour=off copies=8 loss=outputs lr=1e-2 epochs=1", 5)
    seen = set()
    for example in recipe.examples:
        asked = world.read_output(str(example.prompt).split(" ; ")[-1].upper())
        assert asked is not None
        assert world.write_output(task.rule.apply(asked)) == example.completion
        seen.add(asked)
    assert len(seen) > len(task.demos)


def test_a_recipe_depends_on_the_seed_alone() -> None:
    domain = ArcWorld()
    (task,) = domain.tasks("test", 1, 1)
    edit = FIXED.replace("turns=off", "turns=on")
    assert domain.recipe(task, edit, 5) == domain.recipe(task, edit, 5)
    assert domain.recipe(task, edit, 5) != domain.recipe(task, edit, 6)


def test_only_the_whole_grid_is_rewarded() -> None:
    domain = ArcWorld()
    (task,) = domain.tasks("test", 1, 1)
    right = task.questions[0].answer
    assert asyncio.run(domain.grade(task, [right])).reward == 1.0
    wrong = world.write_output((*task.target[:8], (task.target[8] + 1) % 8))
    assert asyncio.run(domain.grade(task, [wrong])).reward == 0.0
    assert asyncio.run(domain.grade(task, [""])).verdicts == (0.0,)


def test_the_baselines_are_there_and_repeatable() -> None:
    domain = ArcWorld()
    (task,) = domain.tasks("test", 1, 1)
    in_context = domain.baseline("in-context", task, 1)
    assert in_context is not None
    assert in_context.recipe is None
    for name in ("fixed", "random"):
        baseline = domain.baseline(name, task, 1)
        assert baseline is not None
        assert baseline.recipe is not None
        assert baseline == domain.baseline(name, task, 1)
    assert domain.baseline("other", task, 1) is None


def test_the_domains_import_neither_torch_nor_ray() -> None:
    code = (
        "import sys, seal_ray.domains.arcworld, seal_ray.domains.arc; "
        "sys.exit(bool({'torch', 'ray', 'transformers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
