"""Words to tags, each with its reason, and the word vectors behind neighbours."""

from pathlib import Path

import numpy as np
import pytest

from grounding.errors import GroundingError
from grounding.text.kinds import Kinds
from grounding.text.phrases import Phrase
from grounding.text.vectors import WordVectors
from grounding.text.vocabulary import Match, Vocabulary

TAGS = ("man", "dog", "hat", "red", "couch", "people", "running", "building")


def toy_vectors() -> WordVectors:
    """Cosines worked by hand: hound-dog 0.8, hound-man 0.6, blob-dog 0.39."""
    rows = [("dog", (1, 0)), ("man", (0, 1)), ("hound", (0.8, 0.6)), ("blob", (0.39, -np.sqrt(1 - 0.39**2)))]
    return WordVectors(tuple(word for word, _ in rows), np.array([row for _, row in rows], dtype=np.float32))


def phrase(text: str) -> Phrase:
    return Phrase(text, 0, len(text), text.split()[-1] if text.split() else text)


@pytest.mark.parametrize(
    ("word", "tag", "reason"),
    [
        ("dog", "dog", "exact"),
        ("Dog", "dog", "exact"),
        ("DOGS", "dog", "stem"),
        ("runs", "running", "stem"),
        ("hound", "dog", "neighbour"),
        ("blob", None, "out-of-vocabulary"),
        ("zyzzyva", None, "out-of-vocabulary"),
        ("", None, "out-of-vocabulary"),
        ("🐶", None, "out-of-vocabulary"),
    ],
)
def test_lookup(word: str, tag: str | None, reason: str) -> None:
    match = Vocabulary(TAGS, toy_vectors(), None).lookup(word)
    assert (match.word, match.tag, match.reason) == (word, tag, reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("of the", []),
        ("a red hat", [("red", "red", "exact", 1 / 2), ("hat", "hat", "exact", 1 / 2)]),
        ("the hound dogs", [("hound", "dog", "neighbour", 0.8 / 1.8), ("dogs", "dog", "stem", 1 / 1.8)]),
        ("a qqq hat", [("qqq", None, "out-of-vocabulary", 0), ("hat", "hat", "exact", 1)]),
        ("a hound", [("hound", "dog", "neighbour", 1)]),
        ("qqq zzz", [("qqq", None, "out-of-vocabulary", 0), ("zzz", None, "out-of-vocabulary", 0)]),
    ],
)
def test_match(text: str, expected: list[tuple[str, str | None, str, float]]) -> None:
    matches = Vocabulary(TAGS, toy_vectors(), None).match(phrase(text))
    assert [(match.word, match.tag, match.reason) for match in matches] == [row[:3] for row in expected]
    assert [match.weight for match in matches] == pytest.approx([row[3] for row in expected], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a tiger cat", [("tiger", "tiger cat", "exact"), ("cat", "tiger cat", "exact")]),
        ("Tiger Cats", [("Tiger", "tiger cat", "stem"), ("Cats", "tiger cat", "stem")]),
        ("a tiger and a cat", [("tiger", "tiger cat", "exact"), ("cat", "tiger cat", "exact")]),
        ("a cat", [("cat", "tiger cat", "stem")]),
        ("a tiger", [("tiger", None, "out-of-vocabulary")]),
        ("a persian cat", [("persian", "Persian cat", "exact"), ("cat", "Persian cat", "exact")]),
        (
            "hot dog stand",
            [("hot", "hot dog stand", "exact")] + [(w, "hot dog stand", "exact") for w in ("dog", "stand")],
        ),
        ("hot dogs", [("hot", "hot dog", "stem"), ("dogs", "hot dog", "stem")]),
        ("a dog", [("dog", "dog", "exact")]),
    ],
)
def test_tags_of_several_words(text: str, expected: list[tuple[str, str | None, str]]) -> None:
    vocabulary = Vocabulary(["tiger cat", "Persian cat", "hot dog", "hot dog stand", "dog"], None, None)
    assert [(match.word, match.tag, match.reason) for match in vocabulary.match(phrase(text))] == expected


@pytest.mark.parametrize(("word", "reason"), [("cat", "exact"), ("cats", "stem")])
def test_a_tag_of_one_word_goes_before_a_last_word(word: str, reason: str) -> None:
    match = Vocabulary(["tiger cat", "Cat"], None).lookup(word)
    assert (match.tag, match.reason) == ("Cat", reason)


def test_no_tags_and_no_vectors() -> None:
    assert Vocabulary([]).match(phrase("a dog")) == (Match("dog", (), "out-of-vocabulary", 0.0),)
    assert Vocabulary(["dog"], None, None).lookup("puppy") == Match("puppy", (), "out-of-vocabulary", 0.0)


TAGS_OF_MANY_KINDS = """
    man woman child person people dog cat animal bird camel car truck vehicle airplane couch river scooter guitarist
    shirt clothes street water table tree ball gray red blue pink three first t-shirt center colorful instrument fruit
    dribbles 5 hot toy house jumping bike baby metal area necklace
    """.split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("word", "tag", "reason"),
    [
        ("grey", "gray", "spelling"),
        ("aeroplanes", "airplane", "spelling"),
        ("centre", "center", "spelling"),
        ("colourful", "colorful", "spelling"),
        ("coloured", "colorful", "spelling"),
        ("tshirt", "t-shirt", "spelling"),
        ("3", "three", "spelling"),
        ("five", "5", "spelling"),
        ("1st", "first", "spelling"),
        ("sofa", "couch", "synonym"),
        ("automobile", "car", "synonym"),
        ("bicycle", "bike", "synonym"),
        ("infant", "baby", "synonym"),
        ("lorry", "truck", "synonym"),
        ("Lorries", "truck", "synonym"),
        ("spaniel", "dog", "kind"),
        ("elephant", "animal", "kind"),
        ("parrot", "bird", "kind"),
        ("sedan", "car", "kind"),
        ("violin", "instrument", "kind"),
        ("surgeon", "person", "kind"),
        ("trousers", "clothes", "kind"),
        ("crimson", "red", "kind"),
        ("tractor", "vehicle", "kind"),
        ("wolf", "animal", "kind"),
        ("kitten", "cat", "kind"),
        ("23", None, "out-of-vocabulary"),
        ("39", None, "out-of-vocabulary"),
        ("seven", None, "out-of-vocabulary"),
        ("22nd", None, "out-of-vocabulary"),
        ("roof", None, "out-of-vocabulary"),
        ("leaping", "jumping", "neighbour"),
        ("aluminium", "metal", "kind"),
        ("neighbourhood", "area", "kind"),
        ("jewellery", "necklace", "neighbour"),
        ("diverse", None, "out-of-vocabulary"),
    ],
)
def test_words_of_many_kinds(word, tag, reason):
    match = Vocabulary(TAGS_OF_MANY_KINDS).lookup(word)
    assert (match.tag, match.reason) == (tag, reason)


def test_without_the_kind_a_neighbour_of_its_kind_stands_in_and_says_so():
    assert str(Vocabulary(["camel", "house"]).lookup("elephant")) == "elephant -> camel (neighbour)"
    assert Vocabulary(["house", "red"]).lookup("elephant").tag is None
    assert WordVectors.embedded().similarity("roof", "ladder") > 0.4
    assert Vocabulary(["ladder"]).lookup("roof").tag is None
    assert Vocabulary(["ladder"], kinds=None).lookup("roof").tag == "ladder"


def test_colours_are_neighbours_of_colours_only():
    assert Vocabulary(["pink", "dog"]).lookup("maroon").tag in ("pink", None)
    assert Vocabulary(["blue", "dog"]).lookup("striped").tag is None


def test_the_usual_meaning_counts_first():
    assert Vocabulary(["wagon", "truck"]).lookup("lorry").tag == "truck"
    assert Vocabulary(["color", "fruit"]).lookup("orange").tag == "color"


def test_words_after_a_negation_are_not_looked_up():
    matches = Vocabulary(TAGS, None).match(phrase("a man without a hat"))
    assert [(str(match), match.weight) for match in matches] == [("man -> man (exact)", 1.0), ("hat (negated)", 0.0)]
    assert [match.reason for match in Vocabulary(TAGS, None).match(phrase("no hat"))] == ["exact"]


def test_a_noun_of_several_words_that_is_nothing_like_its_last_word():
    vocabulary = Vocabulary(["bear", "toy", "ball", "tennis"])
    assert [match.tag for match in vocabulary.match(phrase("a teddy bear"))] == ["toy", "toy"]
    assert [match.tag for match in vocabulary.match(phrase("a tennis ball"))] == ["tennis", "ball"]
    foods = Vocabulary(["hot", "dog", "food", "black", "shirt", "person"])
    assert [match.tag for match in foods.match(phrase("hot dogs"))] == ["food", "food"]
    assert [match.tag for match in foods.match(phrase("a black shirt"))] == ["black", "shirt"]


def test_tags_that_no_table_knows():
    vocabulary = Vocabulary(["xk1", "xk2"])
    assert vocabulary.lookup("xk1").reason == "exact"
    assert vocabulary.lookup("dog") == Match("dog", (), "out-of-vocabulary", 0.0)


@pytest.mark.parametrize(
    ("word", "tag", "reason"),
    [("sofa", "studio couch", "synonym"), ("puppy", "golden retriever", "neighbour"), ("violin", "violin", "exact")],
)
def test_tags_of_several_words_have_kinds(word, tag, reason):
    match = Vocabulary(["studio couch", "golden retriever", "violin"]).lookup(word)
    assert match.reason in (reason, "out-of-vocabulary") if reason == "neighbour" else match.reason == reason
    assert match.tag in (tag, None) if reason == "neighbour" else match.tag == tag


BREEDS = ["tabby", "tiger cat", "collie", "Brabancon griffon", "xk opener", "jeep", "davenport", "black bear", "fox"]


@pytest.mark.parametrize(
    ("text", "tags", "reason"),
    [
        ("a cat", ("tabby", "tiger cat"), "kinds"),
        ("Dogs", ("collie", "Brabancon griffon"), "kinds"),
        ("an animal", ("tabby", "tiger cat", "collie", "Brabancon griffon", "black bear", "fox"), "kinds"),
        ("a tabby", ("tabby",), "exact"),
        ("collies", ("collie",), "stem"),
        ("a tiger cat", ("tiger cat",), "exact"),
        ("an automobile", ("jeep",), "kinds"),
        ("a vixen", ("fox",), "kind"),
        ("a kitten", ("tabby", "tiger cat"), "kind"),  # no tag names its kind, but two are cats
    ],
)
def test_tags_that_exclude_each_other_speak_together(text, tags, reason):
    matches = Vocabulary(BREEDS, exclusive=True).match(phrase(text))
    assert [(match.tags, match.reason, match.weight) for match in matches] == [(tags, reason, 1 / len(matches))] * len(
        matches
    )
    assert Vocabulary(BREEDS).lookup("animal").reason != "kinds"


def test_the_last_word_of_exclusive_tags_counts_after_kinds():
    """All tags that end with it; a name of several words that is known goes first."""
    vocabulary = Vocabulary(["xk qwrtz", "zq qwrtz", "police car", "jeep", "polar bear"], exclusive=True)
    assert vocabulary.lookup("qwrtz") == Match("qwrtz", ("xk qwrtz", "zq qwrtz"), "stem", 1.0)
    assert Vocabulary(["hot dog", "collie"], exclusive=True).lookup("dog").tags == ("collie",)
    assert vocabulary.lookup("cars") == Match("cars", ("police car", "jeep"), "kinds", 1.0)
    assert [
        str(match) for match in Vocabulary(["xk", "jeep", "cruiser"], exclusive=True).match(phrase("a police car"))
    ] == [
        "police -> cruiser (synonym)",
        "car -> cruiser (synonym)",
    ]


NAMES = {
    "tabby": ("tabby cat",),
    "cougar": ("puma", "painter"),
    "horse, gymnastic horse": ("horse", "gymnastic horse"),
    "crane (2)": ("crane",),
    "axolotl": ("mud puppy",),
}


@pytest.mark.parametrize(
    ("text", "tags", "reason"),
    [
        ("a tabby cat", ("tabby",), "exact"),
        ("a puma", ("cougar",), "exact"),
        ("a painter", (), "out-of-vocabulary"),  # usually somebody who paints
        ("a crane", ("crane", "crane (2)"), "exact"),
        ("cranes", ("crane", "crane (2)"), "stem"),
        ("a puppy", (), "out-of-vocabulary"),  # no mud puppy
    ],
)
def test_other_names_of_tags(text, tags, reason):
    vocabulary = Vocabulary([*NAMES, "crane"][::-1], None, exclusive=True, names=NAMES)
    assert {match.reason for match in vocabulary.match(phrase(text))} == {reason}
    assert {frozenset(match.tags) for match in vocabulary.match(phrase(text))} == {frozenset(tags)}


def test_of_several_tags_of_one_name_the_usual_meaning_counts():
    kinds = Kinds.from_text("machine,crane+\nbird\n crane\n")
    names = {"crane, machine": ("crane", "machine"), "crane": ()}
    vocabulary = Vocabulary(list(names), None, kinds, exclusive=True, names=names)
    assert vocabulary.lookup("crane").tags == ("crane",)
    assert vocabulary.lookup("cranes").tags == ("crane",)
    assert vocabulary.lookup("machine").tags == ("crane, machine",)


@pytest.mark.parametrize(
    ("tags", "shown"),
    [((), None), (("a",), "a"), (("a", "b", "c"), "a + b + c"), (tuple("abcdefgh"), "a + b + c + 5 more")],
)
def test_what_is_shown_of_many_tags(tags, shown):
    match = Match("it", tags, "kinds", 1.0)
    assert match.tag == shown
    assert str(match) == (f"it -> {shown} (kinds)" if shown else "it (kinds)")


def test_embedded_vectors() -> None:
    vectors = WordVectors.embedded()
    assert len(vectors.stems) == len(set(vectors.stems)) == len(vectors.vectors) > 5000
    np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, atol=1e-5)
    assert vectors.similarity("dogs", "Dog") == pytest.approx(1, abs=1e-5)
    assert vectors.similarity("dog", "zyzzyva") is None
    assert vectors.nearest("dog", []) is None
    assert vectors.nearest("zyzzyva", ["dog"]) is None
    assert vectors.nearest("dog", ["zyzzyva"]) is None


def test_vectors_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(50, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    written = WordVectors(tuple(f"größe{i}" for i in range(50)), rows)
    written.save(path)
    read = WordVectors.load(path)
    assert read.stems == written.stems
    np.testing.assert_allclose(read.vectors, written.vectors, atol=0.01)
    first = path.read_bytes()
    written.save(path)
    assert path.read_bytes() == first


def test_vectors_bad_files(tmp_path: Path) -> None:
    with pytest.raises(GroundingError, match="missing"):
        WordVectors.load(tmp_path / "missing.npz")
    for content in (b"", b"hello", b"PK\x03\x04 cut"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(GroundingError, match=r"bad\.npz"):
            WordVectors.load(tmp_path / "bad.npz")
    with pytest.raises(GroundingError, match="2 stems"):
        WordVectors(("a", "b"), np.zeros((3, 2), dtype=np.float32))


@pytest.mark.parametrize("name", ["chunker.json.gz", "vectors.npz", "kinds.txt.xz"])
def test_embedded_files_are_small(name: str) -> None:
    import grounding.text

    assert 0 < (Path(grounding.text.__file__).parent / name).stat().st_size <= 1_000_000
