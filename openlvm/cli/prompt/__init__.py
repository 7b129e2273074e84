"""`openlvm prompt sequence|analogy|compose|choose|score|batch`: pictures in; pictures, arrays and scores out."""

from openlvm.cli.prompt.verbs import run

__all__ = ["run"]
