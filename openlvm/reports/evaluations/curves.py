"""What can be drawn of evaluations as curves: values by model size, and by the frames or examples shown."""

from collections.abc import Sequence

from openlvm.reports.evaluations.charts import Line, line_chart
from openlvm.reports.evaluations.read import Evaluation, Scores, Value
from openlvm.reports.evaluations.tables import ARROWS


def curves(evaluation: Evaluation) -> dict[str, str]:
    """Name of an axis ("context frames") -> SVG: the first metric of each model along the columns of that axis."""
    drawn = {}
    for axis in dict.fromkeys(column.curve[0] for column in evaluation.columns.values() if column.curve):
        points = [(column.curve[1], column) for column in evaluation.columns.values()
                  if column.curve and column.curve[0] == axis]  # fmt: skip
        points.sort(key=lambda point: point[0])
        first = points[0][1]
        lines = [
            Line(
                name,
                [(place, column.rows[name].values[column.first]) for place, column in points if name in column.rows],
            )
            for role in ("model", "spoiled")
            for name in evaluation.rows(role)
            if any(name in column.rows for _, column in points)
        ]
        if len(points) > 1 and lines:
            drawn[axis] = line_chart([*lines, *_published(evaluation, points)], x=axis, y=_named(first))
    return drawn


def _published(evaluation: Evaluation, points: Sequence[tuple[float, Scores]]) -> list[Line]:
    """Published curves, where they are of the same pictures."""
    if evaluation.is_packaged:
        return []
    lines = [
        Line(told["name"], [(place, _point(told["values"][column.name])) for place, column in points
                            if column.name in told["values"]], is_published=True)
        for told in evaluation.references
    ]  # fmt: skip
    return [line for line in lines if len(line.points) > 1]


def _point(value: float) -> Value:
    return Value(value, float("nan"), float("nan"))


def size_curves(evaluation: Evaluation) -> dict[str, str]:
    """Column -> SVG of its first metric by the models' parameters; empty with fewer than two sizes."""
    sizes = {name: told["parameters"] for name, told in evaluation.predictors.items()
             if "parameters" in told and "condition" not in told}  # fmt: skip
    drawn = {}
    for column in evaluation.columns.values():
        points = sorted((sizes[name], column.rows[name].values[column.first]) for name in sizes if name in column.rows)
        if len({size for size, _ in points}) > 1:
            drawn[column.name] = line_chart([Line(column.name, points)], x="parameters", y=_named(column), is_log=True)
    return drawn


def _named(column: Scores) -> str:
    return f"{column.first} {ARROWS[column.metrics[column.first]]}"
