"""Tokens, phrases and their spans."""

import re
import subprocess
import sys
import zipfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grounding.errors import GroundingError
from grounding.text.captions import as_read
from grounding.text.phrases import Chunker, Phrase, find_phrases
from grounding.text.tokens import is_content_word, tokenize
from helpers.paths import ROOT, SHARED

ANNOTATIONS = SHARED / "data" / "flickr30k_entities_trainval.zip"

# Quotes, full stops, apostrophes, pictographs and separators are where a tokenizer loses its place.
ODD = st.text(alphabet="\"'`“”‘’«». ,!?()[]-ab sS\n\t\x00\x1c\x85\u2028🐶\u200d一。é́")
ANY_TEXT = st.text() | ODD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t", []),
        ("Two dogs.", ["Two", "dogs", "."]),
        ("A man. A dog.", ["A", "man", ".", "A", "dog", "."]),
        ("Mr. Smith in the U.S. Army", ["Mr.", "Smith", "in", "the", "U.S.", "Army"]),
        ("the man's hat", ["the", "man", "'s", "hat"]),
        ("the man’s hat", ["the", "man", "’s", "hat"]),
        ("says \"go\" and ''stop''", ["says", '"', "go", '"', "and", "'", "'", "stop", "'", "'"]),
        ("a \"b'' ``c\" d", ["a", '"', "b", "'", "'", "``", "c", '"', "d"]),
        ("a dog🐶runs", ["a", "dog", "🐶", "runs"]),
        ("一只狗，在跑。", ["一只狗", "，", "在跑", "。"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert [token.text for token in tokenize(text)] == expected


@pytest.mark.parametrize(
    ("word", "expected"), [("dog", True), ("3", True), ("狗", True), ("The", False), ("’s", False), ("🐶", False)]
)
def test_content_words(word: str, expected: bool) -> None:
    assert is_content_word(word) is expected


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_tokens_are_the_text_in_order_and_whole(text: str) -> None:
    position = 0
    for token in tokenize(text):
        assert token.start >= position
        assert token.end > token.start
        assert token.text == text[token.start : token.end]
        position = token.end
    assert "".join(token.text for token in tokenize(text)) == "".join(text.split())


@settings(max_examples=100, deadline=None)
@example("⑴")  # one character that reads as "(1)"
@given(ANY_TEXT)
def test_phrases_are_spans_in_order_and_disjoint(caption: str) -> None:
    position = 0
    for phrase in Chunker.load().phrases(caption):
        assert phrase.start is not None
        assert phrase.end is not None
        assert position <= phrase.start < phrase.end
        assert phrase.text in as_read(caption[phrase.start : phrase.end])
        assert phrase.head in phrase.text
        assert re.search(r"[^\W_]", phrase.text)
        position = phrase.end


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", []),
        ("  \n ", []),
        ("!!! ... 🐶🐶 ,,,", []),
        ("dog", [("dog", "dog")]),
        ("a man in a red hat", [("a man", "man"), ("a red hat", "hat")]),
        ("Two dogs run across a field .", [("Two dogs", "dogs"), ("a field", "field")]),
        ("Two dogs run across a field.", [("Two dogs", "dogs"), ("a field", "field")]),
        ("TWO DOGS RUN ACROSS A FIELD", [("TWO DOGS", "DOGS"), ("A FIELD", "FIELD")]),
        ("A man sleeps. A dog runs.", [("A man", "man"), ("A dog", "dog")]),
        ("A boy's red bike leans on the wall", [("A boy's red bike", "bike"), ("the wall", "wall")]),
        ("A boy’s red bike leans on the wall", [("A boy’s red bike", "bike"), ("the wall", "wall")]),
        ("A group of people sit on stacks of books", [("A group of people", "group"), ("stacks of books", "stacks")]),
        ("A man gives his dog a ball .", [("A man", "man"), ("his dog", "dog"), ("a ball", "ball")]),
        ("A dog 🐶 chases a ball ⚽", [("A dog", "dog"), ("a ball", "ball")]),
        ("A woman\nholds  an\tumbrella", [("A woman", "woman"), ("an umbrella", "umbrella")]),
        ('A sign says "a "dog" and \'\'a cat"', None),
        ("Ein Hund läuft über eine Wiese", None),
        ("一只狗在草地上跑", None),
        ("كلب يجري في الحقل", None),
        ("\x00\x01 a dog \x1b[31m \udc80", None),
    ],
)
def test_phrases(caption: str, expected: list[tuple[str, str]] | None) -> None:
    """None stands for: whatever comes, no exception and true spans."""
    phrases = Chunker.load().phrases(caption)
    if expected is not None:
        assert [(phrase.text, phrase.head) for phrase in phrases] == expected
    assert all(phrase.text == as_read(caption[phrase.start : phrase.end]) for phrase in phrases)


def test_capitals_change_no_span() -> None:
    caption = "A young boy in a blue shirt throws a ball to his dog near the old wooden fence ."
    spans = [(phrase.start, phrase.end) for phrase in Chunker.load().phrases(caption)]
    assert len(spans) == 5
    assert [(phrase.start, phrase.end) for phrase in Chunker.load().phrases(caption.upper())] == spans


@pytest.mark.parametrize("unit", ["A man in a red hat . ", '" ', "a", "🐶", "', ", "\n"])
def test_ten_thousand_characters(unit: str) -> None:
    caption = (unit * 10_000)[:10_000]
    phrases = Chunker.load().phrases(caption)
    assert all(phrase.text == as_read(caption[phrase.start : phrase.end]) for phrase in phrases)
    if unit.startswith("A man"):
        assert len(phrases) == 2 * (10_000 // len(unit)) + 1


CAPTION = "A woman and a man in a red hat watch a man ."


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["a man"], [Phrase("a man", 12, 17, "man")]),
        (["man"], [Phrase("man", 14, 17, "man")]),
        (["a man", "a man", "a man"], [Phrase("a man", s, s + 5, "man") for s in (12, 37, 12)]),
        (["a red hat", "A woman"], [Phrase("a red hat", 21, 30, "hat"), Phrase("A woman", 0, 7, "woman")]),
        (["a woman"], [Phrase("a woman", 0, 7, "woman")]),
        (["a man in a red hat", "hat"], [Phrase("a man in a red hat", 12, 30, "man"), Phrase("hat", 27, 30, "hat")]),
        (["oma"], [Phrase("oma", 3, 6, "oma")]),
        (["a man (left)"], [Phrase("a man (left)", None, None, "man")]),
        (["hat ("], [Phrase("hat (", None, None, "hat")]),
        (["a zebra"], [Phrase("a zebra", None, None, "zebra")]),
        (["a zebra", "A woman"], [Phrase("a zebra", None, None, "zebra"), Phrase("A woman", 0, 7, "woman")]),
    ],
)
def test_given_phrases_stay_as_given(texts: list[str], expected: list[Phrase]) -> None:
    assert find_phrases(CAPTION, texts) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("a man in a red hat", "man"),
        ("a man wearing a red hat", "man"),
        ("the woman who holds a child", "woman"),
        ("a group of people", "group"),
        ("his daughter 's pink car", "car"),
        ("three of the boys", "boys"),
        ("two", "two"),
        ("on the left", "left"),
        ("a swimming pool", "pool"),
        ("them !", "them"),
        ("🐶", "🐶"),
        ("(!)", ")"),
    ],
)
def test_heads(text: str, head: str) -> None:
    assert find_phrases("", [text])[0].head == head


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_blank_phrase_is_refused(text: str) -> None:
    with pytest.raises(GroundingError, match="blank"):
        find_phrases("a man", ["a man", text])


@pytest.mark.slow
def test_no_torch_and_no_nltk_data() -> None:
    """A fresh interpreter: this one may have imported torch for other tests."""
    code = (
        "import sys, nltk.data; nltk.data.find = nltk.data.path = None;"
        "from grounding.text.phrases import Chunker; print(len(Chunker.load().phrases('a man in a hat')));"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs the Flickr30k Entities annotations in ../shared/data")
def test_exact_spans_on_val() -> None:
    right = found = expected = 0
    with zipfile.ZipFile(ANNOTATIONS) as archive:
        for image in archive.read("val.txt").decode().split()[::4]:
            for line in archive.read(f"Sentences/{image}.txt").decode().splitlines():
                caption = re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", line)
                spans, position = set(), 0
                for match in re.finditer(r"\[/EN#\S+ ([^\]]*)\]", line):
                    start = match.start() - position
                    spans.add((start, start + len(match[1])))
                    position += len(match[0]) - len(match[1])
                phrases = {(phrase.start, phrase.end) for phrase in Chunker.load().phrases(caption)}
                right += len(phrases & spans)
                found += len(phrases)
                expected += len(spans)
    assert expected > 4000
    assert 2 * right / (found + expected) >= 0.97
