"""Peer: transformers' LlamaForCausalLM, with the weights of one of our decoders: drawing, a training step, scoring."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from openlvm.model.decoder import Decoder


def same_model(decoder: Decoder) -> torch.nn.Module:
    """transformers' model of the same shape, weights, dtype and device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = decoder.config
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.mlp_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        max_position_embeddings=shape.context,
        rms_norm_eps=shape.rms_eps,
        attention_bias=shape.attention_bias,
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    weight = decoder.model.embed_tokens.weight
    model = LlamaForCausalLM(config).to(weight)
    missing, unexpected = model.load_state_dict(decoder.state_dict(), strict=False)
    assert not unexpected and all("lm_head" in name or "rotary" in name for name in missing), (missing, unexpected)
    model.tie_weights()
    return model


def generator(model: torch.nn.Module, prompt: Tensor, num_new: int, num_codes: int, cache: str) -> Callable[[], Tensor]:
    """Greedy `generate` of rows int64 [B, T]; only the K codes can come out, as the official evaluation has it.

    Args:
        cache: dynamic, static (not compiled), or static-compile. On a CPU transformers does not compile by itself; the
            attribute that makes it do so is private, and is set here so that its best setting is measured.
    """
    others = list(range(num_codes, model.config.vocab_size))
    settings = {
        "max_new_tokens": num_new,
        "min_new_tokens": num_new,
        "attention_mask": torch.ones_like(prompt),
        "pad_token_id": num_codes,
        "use_cache": True,
        "do_sample": False,
        "suppress_tokens": others,
    }
    if cache != "dynamic":
        settings["cache_implementation"] = "static"
    if cache == "static":
        settings["disable_compile"] = True
    if cache == "static-compile":
        from transformers import CompileConfig

        settings["compile_config"] = CompileConfig(mode="default" if prompt.device.type == "cpu" else "reduce-overhead")
        settings["compile_config"]._compile_all_devices = True

    @torch.no_grad()
    def run() -> Tensor:
        return model.generate(prompt, **settings)[:, prompt.shape[1] :]

    return run


def training_step(model: torch.nn.Module, codes: Tensor, precision: str, compiled: bool) -> Callable[[], float]:
    """Forward, backward, clip and fused AdamW on rows int64 [B, T + 1]; returns the loss.

    The loss is transformers' own (labels), so that its best path is taken; its parameters are ours of DESIGN's recipe.
    """
    model.train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compiled else model

    def run() -> float:
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = forward(input_ids=codes[:, :-1], labels=codes[:, :-1], shift_labels=codes[:, 1:]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return run


def official_perplexity(model: torch.nn.Module, row: Tensor, num_targets: int) -> float:
    """What LVM's evaluation/vqlm_demo/inference.py computes: log-softmax of every logit of the row, times a one-hot."""
    with torch.inference_mode():
        log_probs = F.log_softmax(model(row[None]).logits.float(), dim=-1)
        hot = F.one_hot(row[None, -num_targets:], num_classes=log_probs.shape[-1])
        return float(torch.exp(-(log_probs[:, -num_targets - 1 : -1] * hot).sum(-1).mean()))
