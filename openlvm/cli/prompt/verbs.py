"""`openlvm prompt`: which form was asked for; each loads what it needs when it runs, so that help answers at once."""

from collections.abc import Sequence

from openlvm.cli.command import Outcome, parse, report
from openlvm.cli.prompt.options import Batch, Choose, Score, Showing, Verbs


def run(argv: Sequence[str]) -> None:
    """Parse and run."""
    options = parse(Verbs, argv, "prompt")
    report(lambda: _answer(options), as_json=options.json)


def _answer(options: Showing | Choose | Score | Batch) -> Outcome:
    match options:
        case Choose():
            from openlvm.cli.prompt.judge import choose

            return choose(options)
        case Score():
            from openlvm.cli.prompt.judge import score

            return score(options)
        case Batch():
            from openlvm.cli.prompt.batch import answer_batch

            return answer_batch(options)
    from openlvm.cli.prompt.draw import draw

    return draw(options)
