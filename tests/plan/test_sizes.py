"""How large trials are planned to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from seal_ray.bank import Bank, Job
from seal_ray.config import load
from seal_ray.plan.rates import Rates
from seal_ray.plan.sizes import COMPARED, Sizes
from seal_ray.plan.workers import asking
from seal_ray.types import BASE, Example, Trial
from tests.bank.small import make_model, make_texts, make_tokenizer
from tests.runs import CONFIG


def test_what_is_read_under_a_reference_too_takes_as_much_as_reading_it_so_often() -> None:
    texts = tuple(Example(f"Vela Bomar likes {what}.") for what in ("soup", "the sea"))
    plain = Trial("far", BASE, None, 0, (), 1, (), texts)
    sizes, rates = Sizes(load(CONFIG)), Rates(*[1e-3] * 10)
    once, compared = sizes.trial(plain), sizes.trial(replace(plain, reference=BASE))
    assert (compared.rows, compared.prompt) == (COMPARED * once.rows, once.prompt)
    assert asking([compared], rates) == asking([sizes.trial(replace(plain, statements=texts * COMPARED))], rates)


def test_a_bank_reads_a_statement_as_often_as_is_planned() -> None:
    bank, read = Bank(make_model(), make_tokenizer(), slots=2), Counter[str]()
    texts = make_texts(3, seed=9)

    def count(under: str) -> None:
        hook = bank.patched.model.get_input_embeddings().register_forward_hook(
            lambda module, given, result: read.update({under: given[0].numel()})
        )
        list(bank.run([Job("far", None, statements=texts, reference="" if under else None)]))
        hook.remove()

    count("")
    count("a reference")
    assert read["a reference"] == COMPARED * read[""] > 0
