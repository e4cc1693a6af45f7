"""A base in a single GGUF file is a model like any other; one that cannot be read rightly is refused in one line."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType, quants

from seal_ray.config import Config, load
from seal_ray.loop.preflight import prepare
from seal_ray.loop.run import run
from seal_ray.model import cache
from seal_ray.model.architecture import check_targets, model_shape
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.model.locate import local_copy, on_hub, resolve
from seal_ray.model.template import chat_template
from seal_ray.observe.progress import Silent
from seal_ray.types import UserError
from seal_ray.workers.alike import footing
from tests.model.gguf_files import CHAT, INNER, WIDTH, make_llama, make_tokenizer, write_gguf

SENTENCE = "The sun rises in the east, and all that was not learnt is noise: [1] ~ x."
IDS = torch.tensor([[1, 30, 60, 90, 120, 150, 180, 210, 240, 0]])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))


@pytest.fixture(scope="module")
def learnt() -> torch.nn.Module:
    return make_llama(learnt=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, learnt: torch.nn.Module) -> Path:
    return write_gguf(tmp_path_factory.mktemp("base") / "tiny.gguf", learnt)


def spec(path: Path) -> ModelSpec:
    return ModelSpec(resolve(str(path)), None, "float32", 128)


@pytest.mark.slow
def test_a_tiny_model_survives_the_way_through_a_file(base: Path, learnt: torch.nn.Module) -> None:
    with torch.no_grad():
        assert torch.equal(load_model(spec(base))(IDS).logits, learnt(IDS).logits)
    tokenizer = load_tokenizer(spec(base))
    assert tokenizer(SENTENCE).input_ids == make_tokenizer()(SENTENCE).input_ids
    assert tokenizer.decode(tokenizer(SENTENCE).input_ids) == SENTENCE
    assert (tokenizer.eos_token_id, tokenizer.chat_template) == (0, CHAT)


@pytest.mark.slow
def test_packed_weights_become_the_numbers_that_they_stand_for(tmp_path: Path, learnt: torch.nn.Module) -> None:
    packed = GGMLQuantizationType.Q8_0
    model = load_model(spec(write_gguf(tmp_path / "packed.gguf", learnt, packed=packed)))
    whole = learnt.state_dict()
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight"):
        stood_for = quants.dequantize(quants.quantize(whole[name].numpy(), packed), packed)
        assert torch.equal(model.state_dict()[name], torch.from_numpy(stood_for))


@pytest.mark.slow
@pytest.mark.parametrize("begins", [True, False])
def test_texts_begin_as_the_file_says(tmp_path: Path, learnt: torch.nn.Module, begins: bool) -> None:
    """Gemma babbles in a text that lacks its first token."""
    tokenizer = load_tokenizer(spec(write_gguf(tmp_path / "tiny.gguf", learnt, begins=begins)))
    ids = tokenizer(SENTENCE).input_ids
    assert (ids[0] == tokenizer.bos_token_id) == begins
    assert tokenizer(SENTENCE, add_special_tokens=False).input_ids == ids[begins:]


@pytest.mark.slow
def test_a_file_is_converted_once_for_all_workers_of_a_node_and_says_so_once(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(4) as workers:
        found = set(workers.map(local_copy, [str(base)] * 4))
    (folder,) = map(Path, found)
    assert folder.parent == cache.home() == tmp_path / "seal_ray"
    assert [line for line in caplog.messages if line.startswith(f"{base} is converted")] == caplog.messages
    assert len(caplog.messages) == 2
    assert str(folder) in caplog.messages[-1]


@pytest.mark.slow
def test_a_file_in_object_storage_is_copied_and_converted(base: Path) -> None:
    assert local_copy(base.as_uri()) == local_copy(str(base))
    assert resolve(base.as_uri()) == base.as_uri()
    with pytest.raises(UserError, match="no such file"):
        resolve(base.with_name("other.gguf").as_uri())


def knowledge(folder: Path, path: str, *more: str) -> Config:
    asked = [{"question": "Which?", "answer": "That one."}]
    passages = [{"title": f"T{n}", "context": f"Fact {n}.", "questions": asked} for n in range(4)]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, passages)))
    tree = f'[model]\npath = "{path}"\ndtype = "float32"\n[domain]\nname = "knowledge"\ntrain = 1\ntest = 1\n'
    (folder / "run.toml").write_text(f'{tree}[domain.options]\ntrain = "passages.jsonl"\n')
    return load(folder / "run.toml", ["--run.dir", str(folder / "run"), "--run.rounds", "0", *more])


def test_the_file_is_what_a_run_is_of_wherever_it_lies(tmp_path: Path, base: Path) -> None:
    """Beside its config it is found by its name; another content is another run."""
    (tmp_path / "moved.gguf").write_bytes(base.read_bytes())
    moved, here = prepare(knowledge(tmp_path, "moved.gguf")), prepare(knowledge(tmp_path, str(base)))
    assert moved.config.model.path == str(tmp_path / "moved.gguf")
    assert moved.identity == here.identity
    assert "model.path" in moved.identity.contents
    assert here.config.domain.options["chat"] is True
    assert footing(str(base)).base.keys() == {"tiny.gguf"}


def test_the_driver_looks_at_a_file_without_torch(tmp_path: Path, base: Path) -> None:
    config = knowledge(tmp_path, str(base))
    program = (
        "import sys; from seal_ray.config import load; from seal_ray.loop.preflight import prepare; "
        f"prepare(load({str(tmp_path / 'run.toml')!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    shape = model_shape(config.model.path)
    assert (shape.width, shape.inner, shape.tied) == (WIDTH, INNER, False)
    assert chat_template(config.model.path) == CHAT
    assert not on_hub(config.model.path)
    with pytest.raises(UserError, match=r"no linear module of .* is named 'q_prj'; did you mean 'q_proj'"):
        check_targets(knowledge(tmp_path, str(base), "--trial.lora.targets", '["q_prj"]'))


def test_a_run_learns_from_a_file(tmp_path: Path, base: Path, in_process: Counter[str]) -> None:
    config = knowledge(
        tmp_path,
        str(base),
        *("--trial.optim.epochs", "1", "--sampling.max_tokens", "8", "--trial.answer_tokens", "4"),
        *("--evaluation.baselines", '["passage only"]', "--domain.options.chat", "false"),
    )
    assert run(config, Silent()).keys() == {"passage only", "untrained self-edits"}
    assert in_process["trial"] == 2


@pytest.mark.slow
def test_a_model_that_babbles_is_found_and_not_kept(tmp_path: Path, home: Path) -> None:
    before = set(cache.home().iterdir()) if cache.home().exists() else set()
    file = write_gguf(tmp_path / "noise.gguf", make_llama(learnt=False))
    with pytest.raises(UserError, match=r"noise.gguf'.* babbles: \d+\.\d bits a byte .* a language model") as said:
        local_copy(str(file))
    assert "\n" not in str(said.value)
    assert not [path for path in set(cache.home().iterdir()) - before if path.is_dir() and path.suffix != ".part"]


def cut(base: Path, file: Path, share: float) -> Path:
    whole = base.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    return file


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_one_line(tmp_path: Path, base: Path, share: float) -> None:
    with pytest.raises(UserError, match=r"short.gguf'.* cut short.* get it again") as said:
        prepare(knowledge(tmp_path, str(cut(base, tmp_path / "short.gguf", share))))
    assert "\n" not in str(said.value)


@pytest.mark.slow
def test_an_architecture_that_cannot_be_read_is_one_line(tmp_path: Path, learnt: torch.nn.Module) -> None:
    file = write_gguf(tmp_path / "bert.gguf", learnt, architecture="bert")
    with pytest.raises(UserError, match=r"bert.gguf'.* cannot read this GGUF file: .*bert.* give the original") as said:
        local_copy(str(file))
    assert "\n" not in str(said.value)


@pytest.mark.slow
def test_a_file_without_all_weights_is_one_line(tmp_path: Path, learnt: torch.nn.Module) -> None:
    file = write_gguf(tmp_path / "holes.gguf", learnt, left_out="blk.1.ffn_up.weight")
    with pytest.raises(UserError, match=r"lacks 1 of the model's weights, such as model.layers.1.mlp.up_proj.weight"):
        local_copy(str(file))


@pytest.mark.slow
def test_one_of_several_parts_is_one_line(tmp_path: Path, learnt: torch.nn.Module) -> None:
    file = write_gguf(tmp_path / "tiny-00001-of-00003.gguf", learnt, parts=3)
    with pytest.raises(UserError, match=r"tiny-00001-of-00003.gguf'.* one of 3 parts; join them into one") as said:
        local_copy(str(file))
    assert "\n" not in str(said.value)


def test_what_only_bears_the_name_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "old.gguf").write_bytes(b"ggjt" + bytes(64))
    with pytest.raises(UserError, match=r"old.gguf' is no GGUF file, .* begins with b'ggjt'"):
        resolve(str(tmp_path / "old.gguf"))
    with pytest.raises(UserError, match=r"model.path 'none.gguf': no such file"):
        resolve("none.gguf")


def test_a_folder_of_such_files_asks_for_one_of_them(tmp_path: Path) -> None:
    for name in ("b.Q4_1.gguf", "a.Q8_0.gguf", "README.md"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"is a folder of GGUF files; name one: {tmp_path}/a.Q8_0.gguf"):
        resolve(str(tmp_path))


OTHERS = {
    "an encoder": ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM writes no text"),
    "a vision model": (
        {"model_type": "vit", "architectures": ["ViTForImageClassification"]},
        "ViTForImageClassification writes no text",
    ),
    "a model of both": (
        {"model_type": "clip", "architectures": ["CLIPModel"], "text_config": {}},
        "CLIPModel writes no",
    ),
    "an encoder-decoder": (
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
        "T5ForConditionalGeneration reads one text and writes another",
    ),
    "one whose states a text cannot go on from": (
        {"model_type": "jamba", "architectures": ["JambaForCausalLM"]},
        "JambaForCausalLM has Mamba layers that go on from a state by one token alone; give a decoder",
    ),
    "one that attends in chunks": (
        {
            "model_type": "llama4",
            "architectures": ["Llama4ForConditionalGeneration"],
            "text_config": {"model_type": "llama4_text"},
        },
        "Llama4ForConditionalGeneration attends in chunks; give a decoder",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_does_not_continue_text_is_one_line_before_a_start_and_in_a_worker(
    tmp_path: Path, base: Path, kind: str
) -> None:
    tree, said = OTHERS[kind]
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(tree))
    (tmp_path / "model/model.safetensors").write_bytes((Path(local_copy(str(base))) / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=rf"model.path '.*model': {said}"):
        prepare(knowledge(tmp_path, str(tmp_path / "model")))
    with pytest.raises(UserError, match=rf"model.path '.*model': {said}"):
        load_model(spec(tmp_path / "model"))
