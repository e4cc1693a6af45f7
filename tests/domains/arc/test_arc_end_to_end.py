"""The published tasks go through real trials with a tiny random model: the score is what it is, nothing breaks."""

import asyncio
from typing import Any

import pytest

from seal_ray.domains.arc import Arc, describe
from seal_ray.types import LoraSpec, OptimSpec
from tests.shared import SHARED, needs_shared

DATA = SHARED / "data/arc"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
EDIT = (
    '{"basic": true, "size": true, "chain": false, "repeat": false, "loss": "all", "learning_rate": 1e-3, "epochs": 1}'
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in (10, *range(32, 127))]
    words = {word: i for i, word in enumerate(["<pad>", "<end>", "<unk>", *letters])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def bank(tokenizer: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from seal_ray.bank import Bank

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=1 << 14,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return Bank(LlamaForCausalLM(config), tokenizer, slots=4, max_length=1 << 13)


@pytest.mark.slow
@needs_shared
def test_the_published_subsets_are_trained_on_and_answered(tokenizer: Any, bank: Any) -> None:
    from seal_ray.bank import Job, TokenText
    from seal_ray.workers.engines.text import render_example, render_prompt

    files = {
        "train": str(DATA / "arc-agi_training_challenges_filtered_1B_training_set.json"),
        "train_solutions": str(DATA / "arc-agi_training_solutions_filtered_1B_training_set.json"),
        "test": str(DATA / "arc-agi_evaluation_challenges_filtered_1B_eval_set.json"),
        "test_solutions": str(DATA / "arc-agi_evaluation_solutions_filtered_1B_eval_set.json"),
    }
    lora = LoraSpec(2, 2.0, ("q_proj", "v_proj"))
    arc = Arc(Arc.Options(**files, max_examples=2, max_text=6000), lora, OptimSpec(batch_size=2))
    tasks = {task.id: task for split in ("train", "test") for task in arc.tasks(split, None, 0)}  # type: ignore[arg-type]
    assert len(tasks) == 22
    jobs = []
    for task in tasks.values():
        recipe = arc.recipe(task, EDIT, 0)
        rendered = [render_example(tokenizer, example) for example in recipe.examples]
        texts = tuple(TokenText.of(*parts, learn_prompt=True) for parts in rendered)
        prompts = tuple(tuple(render_prompt(tokenizer, prompt)) for prompt in arc.questions(task))
        jobs.append(Job(task.id, texts, recipe.lora, recipe.optim, 0, prompts, max_new_tokens=2, stop=arc.stop))
    for result in bank.run(jobs):
        assert result.failure is None
        assert result.steps == 1
        grade = asyncio.run(arc.grade(tasks[result.key], result.answer_texts))
        assert grade.reward == 0.0
        assert describe(tasks[result.key], result.answer_texts).malformed == len(result.answer_texts)


@needs_shared
def test_the_loss_falls_on_the_reply_that_the_template_closes(tokenizer: Any) -> None:
    from seal_ray.workers.engines.text import render_example

    file = str(DATA / "arc-agi_training_challenges_filtered_1B_training_set.json")
    arc = Arc(Arc.Options(train=file, test=file, max_examples=1))
    for task in arc.tasks("test", None, 0):
        example = arc.recipe(task, EDIT, 0).examples[0]
        prompt, reply = render_example(tokenizer, example)
        assert tokenizer.decode(reply).replace(" ", "") == f"{example.completion}<end>".replace(" ", "")
        assert prompt[-1] == tokenizer.convert_tokens_to_ids("]")
