"""The card of an exported policy."""

from __future__ import annotations

import json
from html import escape
from shlex import quote

from seal_ray.config import Config
from seal_ray.domains.knowledge.studied import CUED
from seal_ray.domains.registry import learns
from seal_ray.model.gguf import is_gguf
from seal_ray.plain import counted, visible
from seal_ray.policy.foreign import named_base
from seal_ray.policy.lineage import Row, head_of, lineage
from seal_ray.record.account import read_account
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, LearntRow, OutcomeRow, PlannedRow, PolicyRow, RetractedRow
from seal_ray.record.storage import Store
from seal_ray.record.summary import cells, doubts, summarize
from seal_ray.report.rounds import rounds
from seal_ray.rundir.directory import recorded_config
from seal_ray.update.warm_start import WARM_START
from seal_ray.workers.engines.vllm import RANKS


def model_card(directory: str, row: Row, merged: bool, lesson_rank: int = 0) -> str:
    """The text of the card: how the adapter or model is used, what was trained, and what was measured.

    With a `lesson_rank` the card is of the adapter of one lesson, which has that rank, and not of the row's policy.
    """
    config = recorded_config(directory)
    journal = Journal(Store(directory))
    past = lineage(journal)[head_of(row)]
    rounds_before = [each for each in past if isinstance(each, PolicyRow) and each.version <= row.version]
    title = f"what {_passage(row)} alone taught" if lesson_rank else f"policy {_when(row)}"
    lines = [
        "---",
        f"base_model: {config.model.path}",
        f"library_name: {'transformers' if merged else 'peft'}",
        f"tags: [self-adapting{', rest-em' if rounds_before and not learns(config) else ''}]",
        "---",
        f"# {config.run.name}, {title}",
        "",
        *_made(config, row, bool(rounds_before), bool(lesson_rank)),
        "",
        *(_use_merged(config) if merged else _use_adapter(config, lesson_rank or row.rank)),
    ]
    if rounds_before:
        head = "| round | self-edits kept | reliability of rewards | steps | first loss | last loss | adapter rank |"
        lines += ["", head, "|---|---|---|---|---|---|---|"]
    trusted = _reliability(journal)
    for each in rounds_before:
        kept = f"{each.kept} | {trusted.get(each.version, 'one seed cannot tell')}"
        losses = f"{each.first_loss:.3f} | {each.last_loss:.3f}"
        lines.append(f"| {each.version or WARM_START} | {kept} | {each.steps} | {losses} | {each.rank} |")
    lines += _account(directory, row) if learns(config) else _measured(journal)
    return "\n".join(lines) + "\n"


def _measured(journal: Journal) -> list[str]:
    """A table of all arms that a run has measured."""
    measured, lines = summarize(journal), list[str]()
    if measured:
        lines += ["", "| held-out accuracy | mean | 95 % interval | tasks | failed trials |", "|---|---|---|---|---|"]
    for arm, m in measured.items():
        lines.append(f"| {escape(visible(arm))} | {' | '.join(cells(m))} |")
    for line in doubts(measured):
        lines += ["", escape(visible(line))]
    return lines


def _account(directory: str, row: Row) -> list[str]:
    """What `learn` said of this version: its record has passages that are gone, and versions before."""
    account = read_account(Store(directory))
    if account is None or not isinstance(row, PolicyRow) or row.version != account.version:
        return []
    return ["", "```", *account.lines(), "```"]


def _when(row: Row) -> str:
    if isinstance(row, PolicyRow):
        return f"after round {row.version}" if row.version else f"after the {WARM_START}"
    return f"after {_passage(row)}" if isinstance(row, LearntRow) else f"of {head_of(row)}"


def _passage(row: Row) -> str:
    return f"passage {row.step} of {head_of(row)}" if isinstance(row, LearntRow) else ""


def _reliability(journal: Journal) -> dict[int, str]:
    """For each round, the share of the variance between mean rewards that is truth and not the luck of a seed."""
    outcomes = {row.key: row for row in journal.read(OutcomeRow)}
    found = rounds(list(journal.read(PlannedRow)), outcomes, (), journal.read(KeptRow), ())
    return {round_.number: f"{round_.reliability:.2f}" for round_ in found if round_.reliability is not None}


def _made(config: Config, row: Row, rounds_before: bool, alone: bool) -> list[str]:
    start = f"Finetuned with seal_ray from `{config.model.path}`"
    if learns(config):
        return [
            f"{start} on documents, which it knows (seed {config.run.seed}): on their passages, on questions with "
            "answers, and on those notes of its own that taught it most when they were tried. It is asked in words of "
            "one's own, by itself:"
        ]
    said = f"{start} in the domain `{config.domain.name}` (seed {config.run.seed})"
    if isinstance(row, PolicyRow):
        return [f"{said}: {_rounds(config) if row.version else 'on examples of self-edits, before any round.'}"]
    before = f" Before that, {_rounds(config)}" if rounds_before else ""
    way = f"the way `{row.way}`"
    if alone and isinstance(row, LearntRow):
        return [f"{said}: this alone was trained in {way} when passage {row.step} of an order arrived.{before}"]
    passages = f"passages arrived one after another and were learnt in {way}, each by what the model wrote of it"
    if isinstance(row, RetractedRow):
        out = f"what passage{'s' * (len(row.out) > 1)} {', '.join(map(str, row.out))} had taught was taken out again"
        return [f"{said}: {passages}; then {out}.{before}"]
    return [f"{said}: {passages}; this is the policy after {counted(row.step, 'passage')}.{before}"]


def _rounds(config: Config) -> str:
    return (
        "in each round the model wrote "
        f"{config.sampling.per_task} self-edits for each of {config.domain.train or 'all'} tasks, each was tried by "
        "training a LoRA on it and asking questions, and the policy was finetuned on those chosen by the rule "
        f"`{config.selection.rule}`."
    )


def _use_merged(config: Config) -> list[str]:
    return [*_snippet(config, "transformers", "AutoModelForCausalLM"), "", "Or serve this folder: `vllm serve .`"]


def _use_adapter(config: Config, rank: int) -> list[str]:
    lines = [*_snippet(config, "peft", "AutoPeftModelForCausalLM"), ""]
    limit = next((limit for limit in RANKS if rank <= limit), None)
    if limit is None:
        return [*lines, f"Its rank, {rank}, is above what vLLM serves ({RANKS[-1]}): export it merged for that."]
    if is_gguf(config.model.path):
        return [*lines, "vLLM serves no adapter beside a GGUF file: export it merged for that."]
    name = config.run.name if learns(config) else "policy"
    served = f"--lora-modules {quote(f'{name}=.')} --max-lora-rank {limit}"
    serve = f"vllm serve {quote(named_base(config))} --enable-lora {served}"
    return [*lines, f"Or serve it beside its base, from this folder: `{serve}`"]


def _snippet(config: Config, package: str, kind: str) -> list[str]:
    """Python that loads the folder it is run in and uses it; the folder may be given in full from elsewhere."""
    loads = _loads(config, package, kind)
    if learns(config):
        return f"""{loads}
question = "What is it about?"
{_CHAT if config.domain.options.get("chat") else _CUE}
found = model.generate(input_ids=ids, max_new_tokens=128, do_sample=False, repetition_penalty=1.0)
answer = tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False)
print(answer{"" if config.domain.options.get("chat") else _FIRST_LINE}.strip())
```""".splitlines()
    return f"""{loads}
ids = tokenizer("The text, in the prompt of the run's self-edits:", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(input_ids=ids, max_new_tokens=32)[0], skip_special_tokens=True))
```""".splitlines()


def _loads(config: Config, package: str, kind: str) -> str:
    """The lines that make `tokenizer` and `model` of the folder."""
    dtype = f', dtype="{config.model.dtype}"'
    if package == "peft" and is_gguf(config.model.path):  # PEFT finds a base by itself only in a folder or on the hub
        place, _, file = config.model.path.rpartition("/")
        at = "." if "://" in place else place or "."
        imports = "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer"
        model = (
            f"base = AutoModelForCausalLM.from_pretrained({at!r}, gguf_file={file!r}{dtype})\n"
            "model = PeftModel.from_pretrained(base, folder)"
        )
    else:
        imports = f"from transformers import AutoTokenizer\nfrom {package} import {kind}"
        model = f"model = {kind}.from_pretrained(folder{dtype if learns(config) else ''})"
    return f"""```python
{imports}

folder = "."
tokenizer = AutoTokenizer.from_pretrained(folder)
{model}"""


_CHAT = """turns = [{"role": "user", "content": question}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids"""
_CUE = f"""text = {json.dumps(CUED)}.replace("{{question}}", question)
ids = tokenizer(text, return_tensors="pt").input_ids"""
_FIRST_LINE = '.partition("\\n")[0]'
