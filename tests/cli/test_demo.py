"""`openlvm demo`: its options; what it writes is tested with its job."""

import json


def test_demo_prompts_the_lvm_it_is_given(openlvm_json, lvm_at, tmp_path):
    result = openlvm_json("demo", "--lvm", lvm_at, "--out", tmp_path / "demo")
    assert result["report"]["lvm"]["name"] == str(lvm_at)
    assert result["page"] == str(tmp_path / "demo" / "index.html")
    assert json.loads((tmp_path / "demo" / "report.json").read_text()) == result["report"]


def test_demo_rejects_options_without_effect(openlvm_error, lvm_at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--tiny is a form of the training demo; add --train" in openlvm_error("demo", "--tiny")
    assert "--from-scratch is a form of" in openlvm_error("demo", "--from-scratch")
    assert "leave out --lvm" in openlvm_error("demo", "--train", "--lvm", lvm_at)
    assert "no LVM bundle at" in openlvm_error("demo", "--lvm", tmp_path / "none")
    assert not list(tmp_path.iterdir())
