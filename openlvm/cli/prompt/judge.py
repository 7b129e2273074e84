"""Likelihood as a tool: perplexities of pictures after others, and the choice among options."""

from openlvm.cli.command import Outcome, find_pictures
from openlvm.cli.prompt.draw import load
from openlvm.cli.prompt.given import find_one, find_pairs
from openlvm.cli.prompt.options import Choose, Score


def choose(options: Choose) -> Outcome:
    """The option that fits best, and the perplexity of every option."""
    context, candidates = find_pictures(options.context), find_pictures(options.options)
    choice = load(options).choose(context, candidates, restrict=options.restrict, against=options.against)
    values = {
        "index": choice.index,
        "picture": candidates[choice.index],
        "perplexities": [float(value) for value in choice.perplexities],
    }
    columns = {"perplexity": choice.perplexities}
    if choice.context_free is not None:
        values["context_free"] = [float(value) for value in choice.context_free]
        columns["context-free"] = choice.context_free
    lines = ["  " + "  ".join(f"{name:>12}" for name in columns) + "  picture"]
    for index, path in enumerate(candidates):
        numbers = "  ".join(f"{column[index]:12.2f}" for column in columns.values())
        lines.append(f"{'*' if index == choice.index else ' '} {numbers}  {path}")
    return Outcome(values, "\n".join(lines))


def score(options: Score) -> Outcome:
    """The perplexity of every target after the context, and without it if the model can begin with nothing."""
    targets = find_pictures(options.target)
    pairs = find_pairs(options.pairs, "--pairs") if options.pairs else []
    query = [find_one(options.query, "--query")] if options.query is not None else []
    context = [*(path for pair in pairs for path in pair), *query, *find_pictures(options.context)]
    lvm = load(options)
    found = {"perplexity": lvm.scores([context] * len(targets), targets, restrict=options.restrict).tolist()}
    if context and lvm.bundle.special.bos is not None:
        found["context_free"] = lvm.scores([[]] * len(targets), targets, restrict=options.restrict).tolist()
    values = {"targets": targets, **found}
    lines = ["".join(f"{name.replace('_', '-'):>12}  " for name in found) + "picture"]
    lines += [
        "".join(f"{column[row]:12.2f}  " for column in found.values()) + str(at) for row, at in enumerate(targets)
    ]
    if options.by_count:
        if pairs:
            curve = lvm.score_by_count(pairs, query[0], targets[0], restrict=options.restrict)
        else:
            curve = lvm.score_by_frames(context, targets[0], restrict=options.restrict)
        values["by_count"] = {str(count): float(value) for count, value in curve.items()}
        lines += [
            f"{value:12.2f}  after {count} {'examples' if pairs else 'pictures'}" for count, value in curve.items()
        ]
    return Outcome(values, "\n".join(lines))
