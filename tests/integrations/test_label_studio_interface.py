import pytest

from grounding.errors import GroundingError
from grounding.integrations.label_studio.interface import Choice, Control, Interface, read_interface
from helpers.errors import facts

IMAGE = '<Image name="image" value="$image"/>'


def view(inside, head=IMAGE):
    return f"<View>{head}{inside}</View>"


def labels(inside, attributes=""):
    return view(f'<RectangleLabels name="label" toName="image" {attributes}>{inside}</RectangleLabels>')


def choices(text):
    return read_interface(text).labels[0].choices


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ('<Label value="bird"/>', [Choice("bird", ("bird",))]),
        ('<Label value=" bird "/>', [Choice("bird", ("bird",))]),
        ('<Label value="Bird" alias="b"/>', [Choice("b", ("Bird",))]),
        ('<Label value="craft" predicted_values="boat, ship"/>', [Choice("craft", ("boat", "ship"))]),
        (
            '<View><Label value="bird"/></View><Label value="car"/>',
            [Choice("bird", ("bird",)), Choice("car", ("car",))],
        ),
        ('<Label value="&lt;b&gt;bird"/>', [Choice("<b>bird", ("<b>bird",))]),
        ('<Label value=""/><Label value="car"/>', [Choice("car", ("car",))]),
        ('<Label value="x" predicted_values=" , "/><Label value="car"/>', [Choice("car", ("car",))]),
    ],
)
def test_labels(inside, expected):
    assert list(choices(labels(inside))) == expected


def test_all_that_is_read():
    text = view(
        '<Header value="What is there?"/><Text name="text" value="$caption"/><Text name="fixed" value="hello"/>'
        '<RectangleLabels name="animals" toName="image"><Label value="bird"/></RectangleLabels>'
        '<RectangleLabels name="things" toName="other"><Label value="car"/></RectangleLabels>'
        '<RectangleLabels name="lost" toName="nothing"><Label value="dog"/></RectangleLabels>'
        '<RectangleLabels name="empty" toName="image"/><Rectangle name="box" toName="image"/>'
        '<PolygonLabels name="polygon" toName="image"><Label value="cat"/></PolygonLabels>',
        f'{IMAGE}<Image name="other" value="$second"/>',
    )
    animals = Control("animals", "image", "image", (Choice("bird", ("bird",)),))
    things = Control("things", "other", "second", (Choice("car", ("car",)),))
    assert read_interface(text) == Interface((animals, things), (Control("box", "image", "image"),), ("caption",))


BOMB = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, facts("NoneType", "XML")),
        (["<View/>"], facts("list", "XML")),
        ("", facts("broken XML")),
        ("<View>", facts("broken XML", "line 1")),
        ("<View/>", facts("no labels", "RectangleLabels")),
        (labels(""), facts("no labels")),
        (labels('<Label value="bird"/>').replace("$image", "image"), facts("no labels")),
        (view('<RectangleLabels name="" toName="image"><Label value="bird"/></RectangleLabels>'), facts("no labels")),
        ("x" * (10 << 20), facts("10,485,760", "at most 1,048,576")),
        (f'<!DOCTYPE b [<!ENTITY e0 "bang">{BOMB}]><View>&e9;</View>', facts("document type")),
        ('<!DOCTYPE b [<!ENTITY e SYSTEM "file:///etc/passwd">]><View>&e;</View>', facts("document type")),
        ("<View>&e;</View>", facts("broken XML", "entity")),
        ('<?xml version="1.0" encoding="utf-16"?><View/>', facts("XML")),
        ("<View>\ud800</View>", facts("no labels")),
        ("\x00", facts("broken XML")),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) > 60 else str(value),
)
def test_what_is_no_configuration(text, says):
    with pytest.raises(GroundingError, match=says):
        read_interface(text)


def test_a_deep_configuration_is_read():
    deep = 20_000
    text = "<View>" * deep + labels('<Label value="bird"/>') + "</View>" * deep
    assert choices(text) == (Choice("bird", ("bird",)),)
