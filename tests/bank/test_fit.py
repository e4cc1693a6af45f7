"""A model is computed as it computes itself, or refused in one line before anything starts."""

import logging

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from seal_ray.bank import Bank, Job, SampleSpec, TokenText, fit
from seal_ray.bank.attention import Unfit, bank_attention
from seal_ray.model.kinds import UNFIT
from seal_ray.types import LoraSpec, OptimSpec, UserError
from tests.bank.small import (
    CONFIGS,
    SHAPE,
    WORDS,
    make_model,
    make_prompts,
    make_texts,
    make_tokenizer,
    peft_tensors,
    train_alone,
)
from tests.bank.test_generate import generate_alone
from tests.bank.test_neighbours import assert_same

OLD = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
SINKS = {**SHAPE, **EXPERTS, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12}
ROTARY = {name: value for name, value in SHAPE.items() if name != "head_dim"}
LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def build(model_type, dtype=torch.float64, **config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**config), attn_implementation="eager")
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.2) if parameter.dim() > 1 else parameter.data.normal_(1, 0.5)
    return model.to(dtype).eval()


def make_bank(model, **kwargs):
    return Bank(model, make_tokenizer(), slots=2, **kwargs)


REFUSED = {
    "its attention is not one of those": [
        ("gptj", {**OLD, "rotary_dim": 8}),
        ("codegen", {**OLD, "rotary_dim": 8}),
        ("openai-gpt", OLD),
        ("bloom", {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        ("rwkv", {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32}),
    ],
    "its tokens see those after them": [("bert", {**SHAPE, "is_decoder": False})],
    "a mask of its own": [("doge", SHAPE)],
    "its masks have windows of 5 and its layers see none": [("phimoe", {**SHAPE, **EXPERTS, "sliding_window": 5})],
    "it has chunked_attention layers": [("llama4_text", {**SHAPE, **EXPERTS, "attention_chunk_size": 8})],
    "its linear_attention layers are not of a kind whose states the bank keeps apart": [
        ("minimax", {**SHAPE, **EXPERTS, "layer_types": ["linear_attention", "full_attention"]}),
    ],
}


@pytest.mark.parametrize(
    ("model_type", "config", "why"), [(*model, why) for why, models in REFUSED.items() for model in models]
)
def test_a_model_that_would_be_computed_wrongly_is_refused_in_one_line(model_type, config, why):
    with pytest.raises(UserError) as refused:
        make_bank(build(model_type, torch.float32, **config))
    assert f'a model of type "{model_type}" does not fit the bank: ' in str(refused.value)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_model_whose_texts_reach_each_other_within_a_pass_is_refused(monkeypatch):
    model = build("llama", **SHAPE)
    layer = model.model.layers[0].mlp
    usual = layer.forward
    # As a recurrent layer does, which carries its state from one text into the next.
    monkeypatch.setattr(layer, "forward", lambda x: usual(x + x.roll(1, dims=1)))
    with pytest.raises(UserError, match=r"in one pass, its predictions are \S+ nats from those it makes of each text"):
        make_bank(model)


UNTOLD = {
    "a part of a text does not go on from the recurrent states of that before it": (
        "jamba",
        {**SHAPE, "num_experts": 1, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8},
    ),
    "in one pass, its texts reach each other": (
        "recurrent_gemma",
        {**SHAPE, "block_types": ["recurrent", "attention"], "attention_window_size": 16},
    ),
}
OF_A_NAME = {model_type: config for models in (*REFUSED.values(), [*UNTOLD.values()]) for model_type, config in models}
OF_A_NAME["mamba"] = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}


@pytest.mark.parametrize("why", UNTOLD)
def test_what_rounding_would_hide_is_found_by_what_is_no_number(why, monkeypatch):
    model_type, config = UNTOLD[why]
    monkeypatch.setattr(fit, "TOLERANCE", {torch.bfloat16: 10.0})
    with pytest.raises(UserError, match=f'a model of type "{model_type}" does not fit the bank: {why}'):
        make_bank(build(model_type, torch.bfloat16, **config))


@pytest.mark.parametrize("model_type", UNFIT)
def test_what_is_refused_by_its_name_is_what_does_not_fit(model_type):
    config = OF_A_NAME[model_type]
    with pytest.raises(UserError, match=f'a model of type "{model_type}" does not fit the bank'):
        make_bank(build(model_type, torch.float32, **config))


def test_an_argument_of_attention_that_is_not_known_is_an_error_and_one_that_changes_nothing_is_not():
    module = build("llama", **SHAPE).model.layers[0].self_attn
    q, k, v = (torch.zeros(1, heads, 3, 8, dtype=torch.float64) for heads in (4, 2, 2))
    with pytest.raises(Unfit, match="takes block_indices, position_bias, which"):
        bank_attention(module, q, k, v, None, dropout=0.0, position_bias=torch.ones(1), block_indices=torch.ones(1))
    with pytest.raises(Unfit, match="mask of its own"):
        bank_attention(module, q, k, v, torch.ones(1, 1, 3, 3))
    with pytest.raises(Unfit, match="see those after them"):
        bank_attention(module, q, k, v, None, is_causal=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", CONFIGS)
def test_rounding_alone_refuses_no_model(family, dtype):
    assert make_bank(make_model(family, dtype)).positions == 256


def test_predictions_that_are_no_numbers_in_the_base_s_precision_are_said_before_anything_starts():
    model = make_model(dtype=torch.float16)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.fill_(6e4)
    with pytest.raises(UserError, match=r"not finite in torch\.float16; take another model\.dtype"):
        make_bank(model)


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("gpt_oss", SINKS),
        ("granite_swa", SINKS),
        ("deepseek_v3", {**SHAPE, "num_key_value_heads": 4, **LATENT, "n_routed_experts": 4, "n_group": 1,
                         "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    ],
)  # fmt: skip
def test_sinks_and_values_of_another_width_are_computed_as_the_model_does(model_type, config):
    model, texts = build(model_type, torch.float32, **config), make_texts(6, seed=1, high=30)
    bank = make_bank(model)
    for text, scores in zip(texts, bank.log_probs(texts), strict=True):
        with torch.no_grad():
            alone_TV = model(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(-1)
        expected = alone_TV[torch.arange(len(text.ids) - 1), torch.tensor(text.ids[1:])]
        torch.testing.assert_close(torch.tensor(scores), expected, rtol=0, atol=1e-4)
    prompts = make_prompts(5, seed=2)
    answers = bank.sample([SampleSpec(prompt, 0, temperature=0.0, max_new_tokens=8) for prompt in prompts])
    assert [answer.ids for answer in answers] == [generate_alone(model, prompt, 8) for prompt in prompts]


def test_a_trial_on_a_model_with_sinks_is_the_trial_alone_with_peft():
    texts, lora, optim = make_texts(4, seed=4), LoraSpec(4, 8.0, ATTENTION), OptimSpec(1e-2, 5, 2)
    job = Job("it", texts, lora, optim, seed=7, keep_adapter=True)
    other = Job("other", make_texts(3, seed=5), LoraSpec(2, 4.0, ("q_proj",)), optim, seed=8)
    result = {found.key: found for found in make_bank(build("gpt_oss", torch.float32, **SINKS)).run([job, other])}["it"]
    peft, losses = train_alone(build("gpt_oss", torch.float32, **SINKS), job)
    assert result.losses == pytest.approx(losses, abs=1e-4)
    for name, tensor in peft_tensors(peft).items():
        torch.testing.assert_close(torch.from_numpy(result.adapter.tensors[name]), tensor, rtol=0, atol=1e-3)


FOLLOWING = {
    "longrope": ("phi3", {**ROTARY, "original_max_position_embeddings": 32,
                          "rope_parameters": {**LONGROPE, "original_max_position_embeddings": 32}}),
    "dynamic": ("llama", {**ROTARY, "max_position_embeddings": 32,
                          "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLLOWING)
def test_where_rope_follows_the_longest_text_none_is_longer_than_where_it_starts_to(kind, caplog):
    model_type, config = FOLLOWING[kind]
    with caplog.at_level(logging.WARNING):
        bank = make_bank(build(model_type, **config))
    assert bank.positions == bank.max_length == 32
    if kind == "longrope":
        assert "beyond 32 of its 256 positions a text changes its neighbours'; not used" in caplog.text
    lora = LoraSpec(2, 4.0, ("o_proj",))
    short = Job(
        "short", make_texts(2, seed=1), lora, OptimSpec(1e-2, 3), prompts=((5, 6),), max_new_tokens=4, keep_adapter=True
    )
    long = Job("long", make_texts(1, seed=2, low=60, high=60), lora, OptimSpec(1e-2, 3), keep_adapter=True)
    results = {result.key: result for result in bank.run([short, long])}
    assert results["long"].warnings == ("text 0: 60 tokens cut to 32, the model's positions",)
    assert_same(results["short"], next(iter(make_bank(build(model_type, **config)).run([short]))))
    with pytest.raises(ValueError, match="40 tokens, exceed the model's 32 positions"):
        bank.sample([SampleSpec((5,) * 30, 0, max_new_tokens=10)])
    with pytest.raises(ValueError, match="60 tokens exceeds the model's 32 positions"):
        bank.log_probs([TokenText.of((), (5,) * 60)])


def test_a_rotary_embedding_that_follows_the_longest_text_from_no_known_length_on_is_refused(monkeypatch):
    model = build("llama", **SHAPE)
    rotary = model.model.rotary_emb
    usual = rotary.forward
    monkeypatch.setattr(
        rotary, "forward", lambda x, position_ids: usual(x, position_ids * (1 + (position_ids.max() > 40)))
    )
    with pytest.raises(UserError, match="position embedding follows the longest text of a pass"):
        make_bank(model)
