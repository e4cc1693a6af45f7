"""Three ways to do the same trials: as published, with PEFT and Transformers' `Trainer`, and in the bank.

Each tells how long a training step of one trial takes, and how long the rest of a trial does: its adapter made, its
first step, its questions answered.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from benchmarks.machine import sync
from benchmarks.models import twin
from benchmarks.workload import LORA, OPTIM, Workload

PADDED = 2048
"""Tokens that the published way pads every text to."""
Ids = list[int]


@dataclass(frozen=True)
class Material:
    """The same for every variant: the texts that are trained on, and one trial's questions."""

    texts: tuple[Ids, ...]
    prompts: tuple[Ids, ...]
    answer: int
    """New tokens of each answer."""

    @classmethod
    def of(cls, work: Workload, texts: int, vocabulary: int, longest: int) -> Material:
        draw = torch.Generator().manual_seed(0)
        lengths = [min(length, longest) for length in work.sample(texts)]
        rows = [
            torch.randint(min(10, vocabulary - 1), vocabulary, (length,), generator=draw).tolist()
            for length in (*lengths, *[work.prompt] * work.questions)
        ]
        return cls(tuple(rows[: len(lengths)]), tuple(rows[len(lengths) :]), work.answer)

    @property
    def typical(self) -> Ids:
        """A text of middle length."""
        return sorted(self.texts, key=len)[len(self.texts) // 2]


class Variant(Protocol):
    """One way to do trials."""

    name: str

    def step(self, material: Material) -> float:
        """Seconds that a training step takes for each trial that is under way."""

    def rest(self, material: Material) -> float:
        """Seconds of a trial that are not training after its first step."""


class OneAtATime:
    """PEFT and `Trainer`, batch 1, unpadded; the adapter answers its questions in one batch."""

    name = "peft"
    asks_base = False

    def __init__(self, model: Any) -> None:
        self.model = model

    def step(self, material: Material) -> float:
        texts = self._texts(material)
        return self._trained(texts, ()) / len(texts)

    def rest(self, material: Material) -> float:
        started = time.perf_counter()
        self._trained([material.typical], material.prompts, material.answer)
        return time.perf_counter() - started

    def _texts(self, material: Material) -> Sequence[Ids]:
        return material.texts

    def _row(self, ids: Ids) -> dict[str, Ids]:
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids}

    def _trained(self, texts: Sequence[Ids], prompts: Sequence[Ids], answer: int = 0) -> float:
        """Train a fresh adapter for one epoch, and have it answer; the seconds that the training took."""
        from peft import LoraConfig, get_peft_model
        from transformers import PrinterCallback, Trainer

        config = LoraConfig(
            r=LORA.rank, lora_alpha=int(LORA.alpha), lora_dropout=0.0, target_modules=list(LORA.targets), bias="none"
        )
        with tempfile.TemporaryDirectory() as folder:
            peft = get_peft_model(self.model, config)
            trainer = Trainer(peft, _settings(folder, self.model), _stacked, [self._row(ids) for ids in texts])
            trainer.remove_callback(PrinterCallback)  # it prints among the tables
            sync(self.model.device)
            started = time.perf_counter()
            trainer.train()
            sync(self.model.device)
            seconds = time.perf_counter() - started
            if prompts:
                if self.asks_base:
                    with peft.disable_adapter():
                        _answers(peft, prompts, answer)
                _answers(peft, prompts, answer)
            self.model = peft.unload().eval()
        return seconds


class Published(OneAtATime):
    """Every text padded to 2,048 tokens, loss on the padding too, and the base model evaluated again at every trial."""

    name = "published"
    asks_base = True

    def __init__(self, model: Any, steps: int) -> None:
        super().__init__(model)
        self.steps = steps
        """Padded steps are all the same work, so a few of them say how long one takes."""

    def _texts(self, material: Material) -> Sequence[Ids]:
        return material.texts[: self.steps]

    def _row(self, ids: Ids) -> dict[str, Ids]:
        padding = PADDED - len(ids)
        padded = ids + [0] * padding
        return {"input_ids": padded, "attention_mask": [1] * len(ids) + [0] * padding, "labels": padded}


def _settings(folder: str, model: Any) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=1,
        num_train_epochs=1,
        learning_rate=OPTIM.lr,
        lr_scheduler_type=OPTIM.schedule,
        weight_decay=OPTIM.weight_decay,
        max_grad_norm=OPTIM.clip_norm,
        optim="adamw_torch",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=model.device.type == "cuda",
        use_cpu=model.device.type == "cpu",
    )


def _stacked(rows: Sequence[dict[str, Ids]]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def _answers(model: Any, prompts: Sequence[Ids], new: int) -> list[list[int]]:
    ids = torch.tensor(list(prompts), device=model.device)
    model.eval()
    with torch.no_grad():
        answers = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )
    return answers[:, ids.shape[1] :].tolist()


class InBank:
    """Many trials at a time, on the same weights."""

    def __init__(self, model: Any, tokenizer: Any, slots: int) -> None:
        from seal_ray.bank import Bank

        self.name, self.slots = f"bank-{slots}", slots
        self.bank = Bank(twin(model), tokenizer, slots=slots, max_length=PADDED)

    def step(self, material: Material) -> float:
        from seal_ray.bank import Job

        hands = [self._texts(material.texts[slot :: self.slots]) for slot in range(self.slots)]
        optim = replace(OPTIM, epochs=1)
        jobs = [Job(f"{slot}", hand, LORA, optim, seed=slot) for slot, hand in enumerate(hands)]
        return self._seconds(jobs) / len(material.texts)

    def rest(self, material: Material) -> float:
        from seal_ray.bank import Job

        prompts, optim = tuple(map(tuple, material.prompts)), replace(OPTIM, epochs=1)
        texts = self._texts([material.typical])
        jobs = [
            Job(f"{slot}", texts, LORA, optim, seed=slot, prompts=prompts, max_new_tokens=material.answer)
            for slot in range(self.slots)
        ]
        return self._seconds(jobs) / self.slots

    def _texts(self, texts: Sequence[Ids]) -> Any:
        from seal_ray.bank import TokenText

        return tuple(TokenText.of((), ids) for ids in texts)

    def _seconds(self, jobs: Sequence[Any]) -> float:
        from benchmarks.op_counts import done

        sync(self.bank.patched.device)
        started = time.perf_counter()
        for _ in done(self.bank, [jobs]):
            pass
        sync(self.bank.patched.device)
        return time.perf_counter() - started
