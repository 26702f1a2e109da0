"""The table of kinds is what the tool makes of WordNet."""

import io
import lzma
import tarfile

import pytest

from grounding.text.kinds import KINDS_FILE, Kinds
from helpers.paths import ROOT, SHARED, load_script

WORDNET = SHARED / "data" / "wordnet31-without-glosses.tar.xz"
ANNOTATIONS = SHARED / "data" / "flickr30k_entities_trainval.zip"
EMBEDDED = ROOT / "grounding" / "text" / KINDS_FILE


@pytest.fixture(scope="module")
def tool():
    import sys

    sys.path.insert(0, str(ROOT / "tools"))
    try:
        yield load_script("derive_kinds", "tools")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("grey", "gray"),
        ("aeroplane", "airplane"),
        ("colour", "color"),
        ("centre", "center"),
        ("theatre", "theater"),
        ("jewellery", "jewelry"),
        ("moustache", "mustache"),
        ("pyjama", "pajama"),
        ("doughnut", "donut"),
        ("tyre", "tire"),
        ("plough", "plow"),
        ("sceptic", "skeptic"),
        ("organise", "organize"),
        ("travelling", "traveling"),
        ("catalogue", "catalog"),
        ("programme", "program"),
        ("whisky", "whiskey"),
        ("cheque", "check"),
        ("kerb", "curb"),
        ("mum", "mom"),
        ("yoghurt", "yogurt"),
        ("aluminium", "aluminum"),
        ("manoeuvre", "maneuver"),
        ("T-shirt", "tee_shirt"),
    ],
)
def test_ways_to_spell_a_word(tool, one, other):
    assert tool.spelling(one.lower()) == tool.spelling(other)


@pytest.mark.parametrize(("one", "other"), [("dog", "cat"), ("sofa", "couch"), ("plane", "airplane"), ("boat", "ship")])
def test_other_words(tool, one, other):
    assert tool.spelling(one) != tool.spelling(other)


def noun(offset, file, words, pointers=""):
    count = len(pointers.split()) // 4
    named = " ".join(f"{word} 0" for word in words)
    return f"{offset} {file:02d} n {len(words):02x} {named} {count:03d} {pointers} "


def test_synsets_are_read_with_what_is_above_them(tool):
    data = [
        "  1 the notice",
        noun("00000001", 3, ["animal"]),
        noun("00000002", 5, ["dog", "hound"], "@ 00000001 n 0000 ~ 00000003 n 0000"),
        noun("00000003", 5, ["Rex"], "@i 00000002 n 0000"),
    ]
    index = [
        "animal n 1 0 1 1 00000001  ",
        "dog n 1 2 @ ~ 1 1 00000002  ",
        "hound n 1 2 @ ~ 1 0 00000002  ",
        "rex n 1 1 @i 1 0 00000003  ",
    ]
    tool.YOUNG, young = {}, tool.YOUNG
    try:
        nouns = tool.read_nouns({"data.noun": data, "index.noun": index})
    finally:
        tool.YOUNG = young
    assert nouns.with_kinds("00000002") == {"00000001", "00000002"}
    assert nouns.senses("dogs") == ["00000002"]
    assert nouns.senses("rex") == []
    assert nouns.below["00000001"] == 2
    lines = tool.forest_lines(nouns, {"animal": ["00000001"], "dog": ["00000002"], "hound": ["00000001", "00000002"]})
    assert lines == ["animal,hound", " dog,hound+"]
    assert Kinds.from_text("\n".join(lines) + "\n\n").senses("hound") == (0, 1)


def test_bad_input(tool, tmp_path, capsys):
    (tmp_path / "a.tar").write_bytes(b"no tar")
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("data.noun"), io.BytesIO())
    for name, message in (("missing.tar", "cannot read"), ("a.tar", "is no tar"), ("b.tar", "lacks")):
        arguments = ["--wordnet", str(tmp_path / name), "--annotations", "x.zip", "--output", str(tmp_path)]
        assert tool.main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_notice_is_in_the_package():
    notice = (EMBEDDED.parent / "WORDNET-LICENSE.txt").read_text()
    assert "WordNet 3.1 Copyright 2011 by Princeton University" in notice
    assert "without fee or" in notice
    assert EMBEDDED.stat().st_size <= 300_000


@pytest.mark.slow
@pytest.mark.remakes
@pytest.mark.skipif(
    not (WORDNET.exists() and ANNOTATIONS.exists()), reason="needs WordNet and Entities in ../shared/data"
)
def test_the_table_is_made_again(tool, tmp_path, capsys):
    assert tool.main(["--wordnet", str(WORDNET), "--annotations", str(ANNOTATIONS), "--output", str(tmp_path)]) == 0
    made, embedded = (tmp_path / KINDS_FILE).read_bytes(), EMBEDDED.read_bytes()
    assert lzma.decompress(made) == lzma.decompress(embedded)
    assert "synsets" in capsys.readouterr().out
