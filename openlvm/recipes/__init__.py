"""Named experiments: each recipe is a function that returns a whole config, with `tiny=True` for a minute of CPU."""

from collections.abc import Callable
from typing import Any

from openlvm.recipes import tokenizers
from openlvm.recipes.demo import demo
from openlvm.recipes.demo_tokenizer import demo_tokenizer
from openlvm.recipes.mini.decoder import mini, mini_128, mini_more
from openlvm.recipes.mini.tokenizer import mini_128_tokenizer, mini_tokenizer
from openlvm.recipes.own import own

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
    **TOKENIZERS,
}
