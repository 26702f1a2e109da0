"""Captions as given, as read, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grounding.text.captions import as_read, read_caption
from grounding.text.phrases import Chunker, find_phrases
from grounding.text.tags import build_tags, caption_stems


@pytest.mark.parametrize(
    ("given_text", "text"),
    [
        ("", ""),
        ("Two dogs run .", "Two dogs run ."),
        ("A Texas A&M fan, R&B; 3 < 4 \"so\" 'it' is", "A Texas A&M fan, R&B; 3 < 4 \"so\" 'it' is"),
        ("a man&#39;s hat", "a man's hat"),
        ("a man&#x27;s hat &amp; coat", "a man's hat & coat"),
        ("a man&amp;#39;s &amp;amp; &quot;hat&quot;", 'a man\'s & "hat"'),
        ("a&nbsp;red&nbsp; hat", "a red hat"),
        ("&bogus; &copy", "&bogus; &copy"),
        ("ａ　ｒｅｄ　ｈａｔ，ａ　ｄｏｇ", "a red hat,a dog"),
        ("ﬁre truck", "fire truck"),
        ("a r\u200bed h\u00adat\ufeff", "a red hat"),
        ("\u202ba dog\u202c \u2066cat\u2069", "a dog cat"),
        ("a t\u2011shirt, the man\u00b4s", "a t-shirt, the man's"),
        ("cafe\u0301", "café"),
        ("a\u00a0red\u2003hat", "a red hat"),
        ("a red\r\n   hat\n", "a red\nhat\n"),
        ("a red\u2028hat\x85", "a red\nhat\n"),
        ("\x1ba\x00dog\t", " a dog "),
        ("a \udc80dog", "a \ufffddog"),
        ("the man’s “red” hat", "the man’s “red” hat"),
        ("&lt;b&gt;a red hat&lt;/b&gt;", " a red hat "),
        ('a <a href="x">man</a><br/>a dog', "a man a dog"),
        ("<person> and <a red hat> 3 < 4 > 2", "<person> and <a red hat> 3 < 4 > 2"),
        ("a dog, https://a.org/b.jpg?c=d.", "a dog, ."),
        ("a dog of www.dogs.org", "a dog of "),
    ],
)
def test_reading(given_text, text):
    assert read_caption(given_text).text == text


@given(st.text(alphabet="a &#39;amp\u200b\u00adｒ\n\r\té́\x00🐶") | st.text())
def test_every_character_points_into_the_caption_as_given(given_text):
    caption = read_caption(given_text)
    assert len(caption.text) == len(caption.starts) == len(caption.ends)
    before = 0
    for index in range(len(caption.text)):
        start, end = caption.span(index, index + 1)
        assert before <= start < end <= len(given_text)
        before = start


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man&#39;s hat on grass", [("a man's hat", "a man&#39;s hat"), ("grass", "grass")]),
        ("Ａ　ｄｏｇ on \u200bthe\u200b grass", [("A dog", "Ａ　ｄｏｇ"), ("the grass", "the\u200b grass")]),
        ("a red\nhat", [("a red hat", "a red\nhat")]),
        ("&lt;a dog&gt; runs", [("a dog", "a dog")]),
        ("a do\u00adg &amp; a c\u200dat", [("a dog", "a do\u00adg"), ("a cat", "a c\u200dat")]),
    ],
)
def test_phrases_are_read_and_their_spans_are_given(caption, expected):
    phrases = Chunker.load().phrases(caption)
    assert [(phrase.text, caption[phrase.start : phrase.end]) for phrase in phrases] == expected


PARTS = """
    cat dog . , | ; # no and “ ” " 's ( ) &quot; &lt;b&gt; <br/> www.a.org http:// ｈａｔ 🐶 ½ U.S. Mr. & &#x27; ' ``
    """.split()  # noqa: SIM905


@given(
    st.lists(st.sampled_from([*PARTS, "a red hat", " ", "\n", "\r\n", "\t", "\u200b", "\u200d", "\u00a0", "e\u0301"]))
)
def test_what_is_found_points_into_the_caption_as_given(parts):
    caption = "".join(parts)
    end = 0
    for phrase in Chunker.load().phrases(caption):
        assert end <= phrase.start < phrase.end <= len(caption)
        assert as_read(caption[phrase.start : phrase.end]) == phrase.text
        end = phrase.end


def test_given_phrases_are_read_too():
    caption = "a man&#39;s\nred hat"
    (phrase,) = find_phrases(caption, ["man's&nbsp;red hat"])
    assert (phrase.text, caption[phrase.start : phrase.end]) == ("man's red hat", "man&#39;s\nred hat")
    assert (find_phrases("a dog", [" a dog\n"])[0].text, find_phrases("a dog", [" a dog\n"])[0].start) == ("a dog", 0)


def test_tags_and_what_is_learnt_read_captions_too():
    caption = "ａ man&#39;s h\u00adat"
    assert caption_stems(caption) == {"man", "hat"}
    assert build_tags([caption, "a hat"], 2) == ["hat", "man"]
