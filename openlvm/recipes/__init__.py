"""Named experiments: each recipe is a function that returns a whole config, with `tiny=True` for a minute of CPU."""

from collections.abc import Callable
from typing import Any

from openlvm.recipes.demo import demo
from openlvm.recipes.demo_tokenizer import demo_tokenizer
from openlvm.recipes.own import own

RECIPES: dict[str, Callable[..., Any]] = {"demo": demo, "demo_tokenizer": demo_tokenizer, "own": own}
