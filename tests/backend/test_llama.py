"""Our Llama, LoRA and tokeniser for serving give the numbers of transformers and peft, and import neither."""

import json
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model

from backend.errors import BackendError
from backend.language import base, llama, text
from backend.language.adapters import Adapted

SENTENCES = ["a person walks forward", "", "someone sits down, then waves"]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def both(tiny_base, request):
    """(transformers' model, ours, tokeniser) of the same folder."""
    theirs = base.load_language_model(dtype=request.param)
    ours, words = base.load_for_serving(dtype=request.param)
    assert isinstance(ours, llama.Llama) and ours.lm_head.weight.dtype == request.param
    return theirs, ours, words


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), atol=1e-5 if a.dtype == torch.float32 else 3e-2)


@torch.no_grad()
def test_states_keys_and_logits_are_those_of_transformers(both):
    theirs, ours, words = both
    assert {n: p.shape for n, p in ours.named_parameters()} == {n: p.shape for n, p in theirs.named_parameters()}
    ids, mask = text.tokenise(words, SENTENCES)
    (expected, kept), (states, cache) = (text.text_states(model, ids, mask) for model in (theirs, ours))
    assert near(states[mask], expected[mask])
    for (keys, values), layer in zip(cache.layers, kept.layers, strict=True):
        real = mask[:, None, :, None].expand_as(keys)
        assert near(keys[real], layer.keys[real]) and near(values[real], layer.values[real])
    # a block that sees itself in both directions, at positions of its own, then a token after part of it
    rows = torch.tensor([2, 0, 0])
    block = torch.randn(3, 5, states.shape[-1], generator=torch.Generator().manual_seed(1)).to(
        ours.lm_head.weight.dtype
    )
    seen = torch.cat([mask[rows], torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]).bool()], 1)
    positions = mask[rows].sum(1, keepdim=True) + torch.arange(5)
    answers = []
    for model, kv in ((theirs, kept), (ours, cache)):
        kv.batch_select_indices(rows)
        options = {"position_ids": positions, "past_key_values": kv, "use_cache": True}
        view = seen[:, None, None].expand(-1, 1, 5, -1)
        first = model.model(inputs_embeds=block, attention_mask=view, **options).last_hidden_state
        kv.crop(-3)
        kv.batch_repeat_interleave(2)
        options = {"position_ids": positions[:, 2:3].repeat_interleave(2, 0), "past_key_values": kv, "use_cache": True}
        view = seen[:, :-2].repeat_interleave(2, 0)[:, None, None]
        after = model.model(
            inputs_embeds=block[:, :1].repeat_interleave(2, 0), attention_mask=view, **options
        ).last_hidden_state
        answers.append((first, after, model.lm_head(after)))
        assert kv.get_seq_length() == ids.shape[1] + 3
    for a, b in zip(*answers, strict=True):
        assert near(a, b)


@torch.no_grad()
def test_adapters_are_those_of_peft(tiny_base):
    config = LoraConfig(r=3, lora_alpha=6, target_modules=LINEAR, lora_dropout=0.0)
    theirs = get_peft_model(base.load_language_model(dtype=torch.bfloat16), config)
    ours = Adapted(base.load_for_serving(dtype=torch.bfloat16)[0], 3, 6, LINEAR)
    trained = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    wanted = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    assert {n: (p.shape, p.dtype) for n, p in trained.items()} == {n: (p.shape, p.dtype) for n, p in wanted.items()}
    assert all("lora_" in name for name in trained) and len(trained) == 2 * 2 * 7
    for number, name in enumerate(sorted(trained)):
        value = torch.randn(trained[name].shape, generator=torch.Generator().manual_seed(number)) * 0.3
        trained[name].copy_(value)
        wanted[name].copy_(value)
    ids, mask = text.tokenise(base.load_for_serving()[1], SENTENCES)
    for model in (theirs, ours):
        model.eval()
    with_lora = [text.text_states(model.get_base_model(), ids, mask)[0][mask] for model in (theirs, ours)]
    with theirs.disable_adapter(), ours.disable_adapter():
        without = [text.text_states(model.get_base_model(), ids, mask)[0][mask] for model in (theirs, ours)]
    assert near(*with_lora) and near(*without) and (with_lora[0] - without[0]).abs().max() > 0.1
    assert near(text.text_states(ours.get_base_model(), ids, mask)[0][mask], with_lora[0])


def test_words_are_those_of_transformers(tiny_base):
    theirs, ours = base.load_tokenizer(), base.load_for_serving()[1]
    assert (ours.bos_token_id, ours.eos_token_id, len(ours)) == (theirs.bos_token_id, theirs.eos_token_id, len(theirs))
    for sentence in (*SENTENCES, "Caption:", "走る 🚶 شخص\u202e", "<|im_end|> x", "A", " 12.5 m"):
        expected = theirs(sentence, add_special_tokens=False)["input_ids"]
        assert ours(sentence, add_special_tokens=False)["input_ids"] == expected, sentence
        assert ours.decode(expected) == theirs.decode(expected), sentence
    assert ours("Caption:", add_special_tokens=False, return_tensors="pt")["input_ids"].shape[0] == 1


@torch.no_grad()
def test_the_real_base_model(real_base):
    theirs, expected = base.load_language_model(real_base, dtype=torch.bfloat16), base.load_tokenizer(real_base)
    ours, words = base.load_for_serving(real_base, dtype=torch.bfloat16)
    assert isinstance(ours, llama.Llama)
    sentence = "A person walks 12 steps, turns left & sits; then waves 👋 at someone's dog."
    assert words(sentence)["input_ids"] == expected(sentence)["input_ids"]
    ids, mask = text.tokenise(words, [sentence, "jumps"])
    (there, _), (here, _) = (text.text_states(model, ids, mask) for model in (theirs, ours))
    assert torch.nn.functional.cosine_similarity(there[mask], here[mask]).min() > 0.9999


def test_other_kinds_of_model_are_left_to_transformers(tiny_base):
    assert llama.read_config(tiny_base).num_hidden_layers == 2
    file = tiny_base / "config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    for change in (
        {"hidden_act": "gelu"}, {"attention_bias": True}, {"model_type": "mistral"},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, {"rope_scaling": {"rope_type": "linear"}},
    ):  # fmt: skip
        file.write_text(json.dumps({**values, **change}), encoding="utf-8")
        assert llama.read_config(tiny_base) is None, change
    file.write_text(json.dumps({**values, "attention_bias": True}), encoding="utf-8")
    model, _ = base.load_for_serving()
    assert not isinstance(model, llama.Llama)
    file.write_text(json.dumps({**values, "hidden_size": 64}), encoding="utf-8")
    with pytest.raises(BackendError, match="damaged") as caught:
        base.load_for_serving()
    assert caught.value.code == "base_missing"


def test_serving_imports_neither_transformers_nor_peft_nor_the_compiler(child_environment, tiny_base):
    code = (
        "import sys, backend.models.momug.model; from backend.language import base; base.load_for_serving();"
        "print([m for m in ('transformers', 'peft', 'torch._dynamo', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment | {"MOMUG_BASE_MODEL": str(tiny_base)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
