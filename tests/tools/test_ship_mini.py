"""The README's table of `mini`: what is bold, what is averaged."""

from scripts import script

ship_mini = script("tools/ship_mini.py")


def task(error: float, *, beaten: bool, group: str = "listed") -> dict:
    errors = dict.fromkeys(ship_mini.RIVALS, {"value": 0.5}) | {"correct": {"value": error}}
    return {
        "group": group,
        "pixel_error": errors,
        "beats": {"copy": {"mean": True}, "mean": {"mean": True}, "none": {"mean": beaten}},
        "metric": "iou",
        "value": {"correct": {"value": 0.625}},
    }


def test_table_marks_what_beats_all_rivals_and_averages_packaged_tasks_only():
    tasks = {"a": task(0.1, beaten=True), "b": task(0.3, beaten=False), "w": task(0.9, beaten=True, group="worlds")}
    lines = ship_mini.readme_table({"tasks": tasks}).splitlines()
    assert lines[2].startswith("| a | **0.100** | 0.500 |") and lines[2].endswith("| mask IoU 0.62 |")
    assert lines[3].startswith("| b | 0.300 |")
    assert lines[4].startswith("| mean | 0.200 | 0.500 |") and len(lines) == 5
