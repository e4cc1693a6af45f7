"""The bank needs torch, transformers, peft, numpy, pyarrow, safetensors and what these need themselves."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

NEEDED = ("torch", "transformers", "peft", "numpy", "pyarrow", "safetensors")

SCRIPT = """
import sys

blocked = set(sys.argv[1].split(","))

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
from seal_ray.bank import Bank, BankSession, Job, SampleSpec, TokenText
from seal_ray.types import LoraSpec, OptimSpec
import torch
from transformers import LlamaConfig, LlamaForCausalLM

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
loaded = blocked & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
"""


def needed_by(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require, without extras."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop().lower().replace("_", "-")) in found:
            continue
        try:
            asked = [Requirement(each) for each in requires(name) or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
        left += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def test_it_trains_and_answers_where_nothing_else_is_installed() -> None:
    needed = needed_by(NEEDED)
    others = [
        module
        for module, owners in packages_distributions().items()
        if not needed & {owner.lower().replace("_", "-") for owner in owners} and module != "seal_ray"
    ]
    others += ["pydantic", "annotated_types"]  # which a dependency may name and not import
    assert {"ray", "vllm", "cyclopts"} <= set(others)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(others)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
