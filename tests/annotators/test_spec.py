"""An annotator's words are taken apart as they are written, and mistakes in them are told."""

import pytest

from openlvm.annotators.spec import Spec, read_spec, slot_of


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("depth=hf:Intel/dpt-large", Spec("depth", "hf", "Intel/dpt-large", {})),
        ("boxes=hf:a/b@v1,threshold=0.9", Spec("boxes", "hf", "a/b@v1", {"threshold": "0.9"})),
        (
            "normals=depth:hf:a/b,fov=55,unit=meters",
            Spec("normals", "depth", "hf:a/b", {"fov": "55", "unit": "meters"}),
        ),
        ("edges=hed:my data, old/hed.h5,side=256", Spec("edges", "hed", "my data, old/hed.h5", {"side": "256"})),
        ("mask=hf:a/b,classes=dining table+dog", Spec("mask", "hf", "a/b", {"classes": "dining table+dog"})),
    ],
)
def test_words_are_taken_apart(text, spec):
    assert read_spec(text) == spec
    assert slot_of(text) == spec.slot


@pytest.mark.parametrize("text", ["depth", "depth=hf", "depth=hf:", "=hf:x", "Depth=hf:x", ""])
def test_words_of_another_form_are_rejected(text):
    with pytest.raises(ValueError, match="is no annotator; write slot=kind:what"):
        read_spec(text)


def test_an_option_given_twice_is_rejected():
    with pytest.raises(ValueError, match="gives an option twice"):
        read_spec("depth=hf:x,unit=meters,unit=inverse")


def test_options_are_read_and_wrong_ones_are_rejected():
    spec = read_spec("boxes=hf:x,threshold=0.25")
    assert spec.read_options({"threshold": float, "classes": str}) == {"threshold": 0.25}
    with pytest.raises(ValueError, match="no option of boxes=hf called 'treshold'; did you mean threshold"):
        read_spec("boxes=hf:x,treshold=1").read_options({"threshold": float})
    with pytest.raises(ValueError, match="option threshold=high of boxes=hf: could not convert"):
        read_spec("boxes=hf:x,threshold=high").read_options({"threshold": float})
