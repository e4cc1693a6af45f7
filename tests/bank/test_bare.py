"""The bank needs torch, transformers, peft, numpy, pyarrow, safetensors and what these need themselves."""

import pytest

from tests.bare import run_bare

SCRIPT = """
from seal_ray.bank import Bank, BankSession, Job, SampleSpec, TokenText
from seal_ray.types import LoraSpec, OptimSpec
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)

class Tokenizer:
    eos_token_id = None

    def decode(self, ids, **options):
        return " ".join(map(str, ids))

shape = dict(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
bank = Bank(LlamaForCausalLM(LlamaConfig(**shape)), Tokenizer(), slots=2)
text = TokenText.of((5,), (6, 7))
job = Job("it", (text,), LoraSpec(2, 2.0), OptimSpec(1e-2, 3), prompts=((5,),), max_new_tokens=2, keep_adapter=True)
(result,) = bank.run([job])
assert result.failure is None and len(result.losses) == 3 and len(result.answers[0]) == 2, result
bank.load("learnt", result.adapter)
session = BankSession(bank, LoraSpec(2, 2.0), base="learnt")
session.forward_backward([text])
session.optim_step(OptimSpec(1e-2))
bank.load("more", session.save())
print(bank.sample([SampleSpec((5,), 0, max_new_tokens=2, base="more")])[0].text)
"""


@pytest.mark.slow
def test_it_trains_and_answers_where_nothing_else_is_installed() -> None:
    assert len(run_bare(SCRIPT).split()) == 2
