"""`openlvm tokenizer evaluate`: report, grid and table; what cannot be done is refused."""

import json

from openlvm.cli.main import main
from openlvm.cli.tokenizer_evaluate import table
from openlvm.core.images import read_image


def test_evaluate_writes_report_and_grid_of_the_sample_pack(openlvm_json, tokenizer_at, tmp_path):
    words = ["--limit", 2, "--out", tmp_path / "out"]
    said = openlvm_json("tokenizer", "evaluate", tokenizer_at, "demo", *words)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert said["tokenizers"] == report["tokenizers"]
    ours, demo = report["tokenizers"]
    assert (ours["name"], ours["image_size"], demo["name"], demo["image_size"]) == (tokenizer_at.name, 16, "demo", 64)
    assert demo["scores"]["mask"]["mask_iou"] > 0.8 > ours["scores"]["mask"]["mask_iou"]  # untrained
    assert demo["scores"]["photos"]["rFID"] == "not computed: give --inception FILE"
    grid = read_image(tmp_path / "out" / "grid.png")
    assert grid.shape[0] > 14 * 128 and grid.shape[1] > 3 * 128  # two of seven kinds; original and two tokenizers


def test_evaluate_of_a_folder_prints_a_table(tokenizer_at, pictures, tmp_path, capsys):
    words = ["--data", str(pictures), "--out", str(tmp_path / "out")]
    assert main(["tokenizer", "evaluate", str(tokenizer_at), *words]) == 0
    printed = capsys.readouterr().out
    assert "pictures ssim" in printed and "mask" not in printed
    assert "LPIPS (VGG16) not computed: give --lpips-backbone FILE --lpips-heads FILE" in printed


def test_table_of_many_tokenizers_stays_within_the_page():
    codes = {"looked_at": 64, "used": 0.5, "perplexity": 10.25}
    facts = {"image_size": 64, "codes_per_image": 64, "codebook_size": 1024, "codes": codes}
    scores = {"mask": {"pictures": 7, "mask_iou": 0.91234}, "photos": {"psnr_mean": None, "rFID": "not computed: x"}}
    reports = [{"name": f"a tokenizer with a long name {n}", **facts, "scores": scores} for n in range(7)]
    lines = table(reports).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.count("0.9123") for line in lines) == 7
    assert any(line.startswith("photos psnr_mean") and line.endswith(" -") for line in lines)


def test_evaluate_refuses_what_it_cannot_do(openlvm_error, tokenizer_at, tmp_path):
    assert "give both --lpips-backbone" in openlvm_error(
        "tokenizer", "evaluate", tokenizer_at, "--lpips-heads", tmp_path / "heads.pth"
    )
    assert "no tokenizer given" in openlvm_error("tokenizer", "evaluate")
    assert "leaves nothing" in openlvm_error("tokenizer", "evaluate", tokenizer_at, "--limit", 0)
    assert "no folder of pictures" in openlvm_error("tokenizer", "evaluate", tokenizer_at, "--data", tmp_path / "none")
    none = ["--inception", tmp_path / "none.pth"]
    assert "no file with FID's InceptionV3" in openlvm_error("tokenizer", "evaluate", tokenizer_at, *none)
