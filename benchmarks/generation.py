"""Generation beside transformers, same weights, greedy: one prompt, several candidates, many queries, and scoring.

    python benchmarks/generation.py --size nano                     # 7 images given, 1 drawn (1792 + 256 codes)
    python benchmarks/generation.py --size 300m --device cuda --dtype bfloat16 --only one batch
    python benchmarks/generation.py --size 7b --device cuda --dtype bfloat16 --peers --only one     # seconds a picture

Every peer computes on the weights of our decoder; the share of equal codes is printed, so a fast wrong answer shows.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from measure import alternate, emit, emit_rates
from peers import llama

from openlvm.core.picking import pick
from openlvm.core.seeds import nothing_drawn
from openlvm.model.decoder import INIT_STD, Decoder, DecoderConfig
from openlvm.model.packed import pack
from openlvm.model.sizes import SIZES
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.sampling import GREEDY

NUM_CODES = 8192


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--size", default="nano", help="of openlvm.model.sizes.SIZES")
    ask.add_argument("--prompt", type=int, default=1792, help="codes given")
    ask.add_argument("--new", type=int, default=256, help="codes drawn")
    ask.add_argument("--candidates", type=int, default=4, help="answers to one prompt")
    ask.add_argument("--queries", type=int, default=16, help="queries on one set of examples")
    ask.add_argument("--batch", type=int, default=32, help="prompts that share nothing")
    ask.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--peers", nargs="*", choices=["dynamic", "static", "static-compile"], default=["dynamic"])
    ask.add_argument("--only", nargs="+", choices=list(PARTS), default=["one", "candidates"])
    ask.add_argument("--runs", type=int, default=5)
    ask.add_argument("--threads", type=int, default=0, help="0 leaves torch's default")
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.size, given.prompt, given.new, given.queries, given.batch, given.runs = "debug", 96, 16, 4, 3, 1
    return given


def main() -> None:
    given = options()
    if given.threads:
        torch.set_num_threads(given.threads)
    shape = dataclasses.replace(pick(SIZES, given.size, "decoder size"), vocab_size=NUM_CODES + 100)
    decoder = random_decoder(shape, given.device, getattr(torch, given.dtype))
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(0, NUM_CODES, (given.prompt,), generator=generator)
    facts = {
        "size": given.size,
        "parameters": shape.num_parameters,
        "prompt": given.prompt,
        "new": given.new,
        "dtype": given.dtype,
    }
    for part in given.only:
        PARTS[part](decoder, prompt, given, facts)


def random_decoder(shape: DecoderConfig, device: str, dtype: torch.dtype) -> Decoder:
    """Packed, with weights drawn where they stay: 7B of them never pass through the CPU."""
    with nothing_drawn(), torch.device("meta"):
        decoder = Decoder(shape).to(dtype)
    decoder.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.normal_(std=INIT_STD, generator=generator) if weight.ndim > 1 else weight.fill_(1.0)
    decoder.model.build_rope(device)
    return pack(decoder.to(dtype).eval())


def draw(decoder: Decoder, prompts: list[Tensor], num_new: int, candidates: int = 1) -> Tensor:
    """Ours: int64 [P, C, num_new]."""
    return generate(decoder, prompts, num_new, num_codes=NUM_CODES, sampling=GREEDY, num_candidates=candidates).codes


def one_prompt(decoder: Decoder, prompt: Tensor, given: argparse.Namespace, facts: dict) -> None:
    sides = {"ours": lambda: draw(decoder, [prompt], given.new)}
    if given.peers:
        model, row = llama.same_model(decoder).eval(), prompt[None].to(given.device)
    for cache in given.peers:
        sides[f"transformers-{cache}"] = llama.generator(model, row, given.new, NUM_CODES, cache)
    ours = sides["ours"]().flatten()
    for name, side in sides.items():
        if name != "ours":
            share = (side().flatten().cpu() == ours).float().mean().item()
            emit(f"generation one-prompt equal-codes {name}", round(share, 4), "share", **facts)
    emit_rates("generation one-prompt", alternate(sides, given.runs), given.new, "codes/s", **facts)


def several_candidates(decoder: Decoder, prompt: Tensor, given: argparse.Namespace, facts: dict) -> None:
    """All candidates of one prompt, in one call and in separate ones, ours and the peer's."""
    count = given.candidates
    model = llama.same_model(decoder).eval()
    row = prompt[None].to(given.device)
    peer_once = llama.generator(model, row, given.new, NUM_CODES, "dynamic")
    peer_batch = llama.generator(model, row.expand(count, -1).contiguous(), given.new, NUM_CODES, "dynamic")
    sides = {
        "ours": lambda: draw(decoder, [prompt], given.new, candidates=count),
        "ours-separate-calls": lambda: [draw(decoder, [prompt], given.new) for _ in range(count)],
        "transformers-batch": peer_batch,
        "transformers-separate-calls": lambda: [peer_once() for _ in range(count)],
    }
    clocks = alternate(sides, given.runs, warmup=0 if given.tiny else 1)
    emit_rates("generation candidates", clocks, count * given.new, "codes/s", candidates=count, **facts)


def many_queries(decoder: Decoder, prompt: Tensor, given: argparse.Namespace, facts: dict) -> None:
    """Queries (the last 256 codes, or an eighth) that share their examples: together, and one by one."""
    own = min(256, given.prompt // 8)
    generator = torch.Generator().manual_seed(1)
    queries = torch.randint(0, NUM_CODES, (given.queries, own), generator=generator)
    prompts = [torch.cat([prompt[:-own], query]) for query in queries]
    sides = {
        "ours": lambda: draw(decoder, prompts, given.new),
        "ours-one-by-one": lambda: [draw(decoder, [one], given.new) for one in prompts],
    }
    clocks = alternate(sides, given.runs, warmup=0)
    work = given.queries * given.new
    emit_rates("generation queries", clocks, work, "codes/s", queries=given.queries, **facts)


def many_prompts(decoder: Decoder, prompt: Tensor, given: argparse.Namespace, facts: dict) -> None:
    """A batch of prompts of one length that share nothing, beside transformers' batch of the same."""
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(0, NUM_CODES, (given.batch, len(prompt)), generator=generator)
    sides = {"ours": lambda: draw(decoder, list(rows), given.new)}
    if given.peers:
        model = llama.same_model(decoder).eval()
        sides["transformers-dynamic"] = llama.generator(model, rows.to(given.device), given.new, NUM_CODES, "dynamic")
    clocks = alternate(sides, given.runs, warmup=0 if given.device == "cpu" else 1)
    emit_rates("generation batch", clocks, given.batch * given.new, "codes/s", batch=given.batch, **facts)


PARTS = {"one": one_prompt, "candidates": several_candidates, "queries": many_queries, "batch": many_prompts}


if __name__ == "__main__":
    main()
