"""Named experiments: each recipe is a function that returns a whole config, with `tiny=True` for a minute of CPU."""

from collections.abc import Callable
from typing import Any

from openlvm.recipes import ladder, tokenizers
from openlvm.recipes.demo import demo
from openlvm.recipes.demo_tokenizer import demo_tokenizer
from openlvm.recipes.mini.decoder import mini, mini_128, mini_more
from openlvm.recipes.mini.tokenizer import mini_128_tokenizer, mini_tokenizer
from openlvm.recipes.own import own
from openlvm.recipes.papers import delvm, lvm

TOKENIZERS: dict[str, Callable[..., Any]] = {
    "demo_tokenizer": demo_tokenizer,
    "mini_tokenizer": mini_tokenizer,
    "mini_128_tokenizer": mini_128_tokenizer,
    "tokenizer_64_f8": tokenizers.tokenizer_64_f8,
    "tokenizer_64_f16": tokenizers.tokenizer_64_f16,
    "tokenizer_128_f8": tokenizers.tokenizer_128_f8,
    "tokenizer_128_f16": tokenizers.tokenizer_128_f16,
    "tokenizer_256_f8": tokenizers.tokenizer_256_f8,
    "tokenizer_256_f16": tokenizers.tokenizer_256_f16,
}
RECIPES: dict[str, Callable[..., Any]] = {
    "mini": mini,
    "mini_more": mini_more,
    "mini_128": mini_128,
    "demo": demo,
    "own": own,
    "lvm_300m": lvm.lvm_300m,
    "lvm_600m": lvm.lvm_600m,
    "lvm_1b": lvm.lvm_1b,
    "lvm_3b": lvm.lvm_3b,
    "lvm_7b": lvm.lvm_7b,
    "delvm_80m": delvm.delvm_80m,
    "delvm_300m": delvm.delvm_300m,
    "delvm_1b": delvm.delvm_1b,
    "delvm_kd_1b_to_300m": delvm.delvm_kd_1b_to_300m,
    "ladder_10m": ladder.ladder_10m,
    "ladder_30m": ladder.ladder_30m,
    "ladder_100m": ladder.ladder_100m,
    "ladder_300m": ladder.ladder_300m,
    "toy_300k": ladder.toy_300k,
    "toy_1m": ladder.toy_1m,
    "toy_3m": ladder.toy_3m,
    **TOKENIZERS,
}
