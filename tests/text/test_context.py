"""How the phrases of a caption belong together."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.text.captions import read_caption
from grounding.text.context import PhraseContext, read_context
from grounding.text.phrases import Chunker, Phrase, find_phrases

NOTHING = PhraseContext(None, None, None, None, False)


def owners(caption, texts=None):
    """Each owned phrase as 'phrase < owner: link'."""
    phrases = find_phrases(caption, texts) if texts else Chunker.load().phrases(caption)
    context = read_context(caption, phrases)
    return [
        f"{phrase.text} < {phrases[found.owner].text}: {found.link}"
        for phrase, found in zip(phrases, context, strict=True)
        if found.owner is not None
    ]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", []),
        ("a man", []),
        ("a man in a red hat", ["a red hat < a man: wears"]),
        (
            "a man in a red hat, blue shirt and jeans",
            ["a red hat < a man: wears", "blue shirt < a man: wears", "jeans < a man: wears"],
        ),
        ("a woman wearing glasses and holding a cup", ["glasses < a woman: wears", "a cup < a woman: holds"]),
        ("A child is dressed in black.", ["black < A child: wears"]),
        ("a boy with curly hair and a smile", ["curly hair < a boy: has", "a smile < a boy: has"]),
        ("a boy with a backpack", ["a backpack < a boy: wears"]),
        ("a man with a dog and a cat", ["a dog < a man: with", "a cat < a man: with"]),
        ("A dog has a red collar.", ["a red collar < A dog: wears"]),
        ("a man in a park", []),
        ("a man looks at a lake", []),
        ("a hat on a man", ["a hat < a man: wears"]),
        ("a hat on a table", []),
        ("A man with a hat on his head", ["a hat < A man: wears", "his head < A man: has"]),
        ("The cup held by a woman in a scarf", ["The cup < a woman: holds", "a scarf < a woman: wears"]),
        ("In a red hat, a man sleeps.", ["a red hat < a man: wears"]),
        ("Wearing a helmet, a boy rides a bike.", ["a helmet < a boy: wears", "a bike < a boy: with"]),
        ("With his hat in his hand, a man bows.", ["his hat < a man: wears", "his hand < a man: has"]),
        ("a man and a woman in hats", ["hats < a woman: wears"]),  # the nearest
        ("Two men in hats and another man in a coat", ["hats < Two men: wears", "a coat < another man: wears"]),
        ("A boy throws a ball and another boy in a cap waits.", ["a cap < another boy: wears"]),
        (
            "three men, one in a red shirt, the others in black",
            ["a red shirt < one: wears", "black < the others: wears"],
        ),
        ("A man next to a woman is wearing a blue shirt.", ["a blue shirt < A man: wears"]),
        ("A man talks to a woman who is wearing a hat.", ["a hat < a woman: wears"]),
        ("A man near two women are wearing hats", ["hats < two women: wears"]),
        ("A man in a hat. A woman in a coat.", ["a hat < A man: wears", "a coat < A woman: wears"]),
        ("A man looks at a woman and raises his hand.", ["his hand < A man: has"]),
        ("A man looks at a woman and she raises her hand.", ["her hand < a woman: has"]),
        ("A father carries his son on his shoulders.", ["his son < A father: holds", "his shoulders < A father: has"]),
        ("A man with a smile on his face", ["a smile < A man: has", "his face < A man: has"]),
        ("The boys are in their uniforms.", ["their uniforms < The boys: wears"]),
        ("A dog with its tongue out", ["its tongue < A dog: has"]),
        ("She holds her hat.", ["her hat < She: wears"]),
        ("a boy riding a horse with a long tail", ["a horse < a boy: with", "a long tail < a horse: has"]),
        ("A girl on a horse wearing a helmet", ["a horse < A girl: with", "a helmet < A girl: wears"]),
        ("A woman walks a dog wearing a sweater.", ["a dog < A woman: with", "a sweater < a dog: wears"]),
        ("a car with its hood open", ["its hood < a car: has"]),
        ("a building with tall windows", ["tall windows < a building: has"]),
        ("A man in front of a house with a red roof", ["a red roof < a house: has"]),
        ("a chair with a red cushion", ["a red cushion < a chair: with"]),
        ("A man sitting on a bench reads a newspaper.", ["a bench < A man: with", "a newspaper < A man: holds"]),
        ("a man with a mountain in the background", []),
        ("a blue shirt with no man", []),
        ("no man in a red hat", []),
        ("a man without a hat in a blue shirt", ["a blue shirt < a man: wears"]),
        ("a man with no shirt and a hat", ["a hat < a man: wears"]),
        ("A boy kicks a man in the face.", ["the face < a man: has"]),
        ("A girl holds a flower in one hand.", ["a flower < A girl: holds", "one hand < A girl: has"]),
        ("A person wearing a sweater over a shirt", ["a sweater < A person: wears", "a shirt < A person: wears"]),
        ("A closeup of a girl with braids", ["braids < A closeup of a girl: has"]),
        ("a group of men in suits", ["suits < a group of men: wears"]),
        ("A man puts on a hat.", ["a hat < A man: wears"]),  # nothing else is said of it
        ("A man holding a child's hand", []),  # of a child that is no phrase
        ("Two women hug each other in red coats.", ["red coats < Two women: wears"]),
        ("a man &amp; a woman wearing a hat", ["a hat < a woman: wears"]),
        ("A man\n in a\u00a0red hat", ["a red hat < A man: wears"]),
    ],
)
def test_owners(caption, expected):
    assert owners(caption) == expected


@pytest.mark.parametrize(
    ("caption", "texts", "expected"),
    [
        ("the collar of a dog", ["the collar", "a dog"], ["the collar < a dog: wears"]),
        ("hands of a child", ["hands", "a child"], ["hands < a child: has"]),
        ("the hood of the car", ["the hood", "the car"], ["the hood < the car: has"]),
        ("a man's hat", ["a man", "hat"], ["hat < a man: wears"]),
        ("a man's hat", ["a man's hat", "a man"], ["a man's hat < a man: wears"]),
        ("a man's hat", ["a man", "a man's hat"], ["a man's hat < a man: wears"]),
        ("the brim of the hat of the man", ["the brim", "the hat", "the man"],
         ["the brim < the hat: has", "the hat < the man: wears"]),
        ("a group of men", ["a group", "men"], []),
        ("a cup of coffee", ["a cup", "coffee"], []),
        ("a man in a red hat", ["a red hat", "a man"], ["a red hat < a man: wears"]),  # in any order
        ("a man in a red hat", ["a man in a red hat", "a red hat"], ["a red hat < a man in a red hat: wears"]),
        ("a man in a red hat", ["a red hat", "a dog"], []),
        ("a man near a woman in a hat", ["a man", "a hat"], []),  # the woman is no phrase
        # Hostile ones.
        ("a hat", ["a hat", "a hat", "hat"], []),
        ("a man in a hat", ["a hat", "a hat", "a man"], ["a hat < a man: wears"] * 2),
        ("the lid of the box of the lid", ["the lid", "the box", "the lid"], ["the lid < the box: has"] * 2),
        ("the door of the car of the door of the car", ["the door", "the car", "the door", "the car"],
         ["the door < the car: has"] * 2),
        ("his hat in his hat", ["his hat", "his hat"], []),
        ("hat of hat of hat", ["hat", "hat", "hat"], ["hat < hat: has"] * 2),
        ("her", ["her"], []),
        ("of in with", ["of", "in", "with"], []),
        ("'s 's", ["'s", "'s"], []),
    ],
)  # fmt: skip
def test_owners_of_given_phrases(caption, texts, expected):
    assert owners(caption, texts) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man and a man", [None, None]),
        ("A man sits as the man sleeps", [None, 0]),
        ("A man sees himself", [None, 0]),
        ("A man smiles as he runs", [None, 0]),
        ("A woman looks at a man as she runs", [None, None, 0]),
        ("A man looks at a woman as she runs", [None, None, 1]),
        ("A boy and another boy: the other boy", [None, None, None]),
        ("A dog runs. The animal sleeps.", [None, 0]),
        ("An animal runs. The dog sleeps.", [None, None]),
        ("A boy and a girl. The boys run.", [None, None, None]),
        ("An old man, a young man. The old man sleeps.", [None, None, 0]),
        ("A man in red and a man in blue. The man in blue sleeps.", [None, None, None, None, 2, None]),
        ("The player in white and the player in red", [None, None, None, None]),
        ("A boy dressed as a pirate", [None, 0]),
        ("A woman is a cashier", [None, 0]),
        ("Two girls laugh, both in red", [None, 0, None]),
        ("he and he", [None, 0]),
    ],
)
def test_same_as(caption, expected):
    phrases = Chunker.load().phrases(caption)
    assert [context.same_as for context in read_context(caption, phrases)] == expected


@pytest.mark.parametrize(
    ("caption", "phrase", "side"),
    [
        ("the man on the left", "the man", "left"),
        ("the left man", "the left man", "left"),
        ("the leftmost man", "the leftmost man", "left"),
        ("the man at the far right", "the man", "right"),
        ("a man in the middle", "a man", "middle"),
        ("the girl in the center of the picture", "the girl", "middle"),
        ("a woman on the right side of the photo holds a cup", "a woman", "right"),
        ("the man in a red hat on the left", "the man", "left"),
        ("the man in a red hat on the left", "a red hat", None),
        ("A man stands on the right with a camera", "A man", "right"),
        ("On the left, a man waits", "a man", "left"),
        ("a ball on the left", "a ball", "left"),
        ("the man to the left", "the man", "left"),
        ("a man walks to the left", "a man", None),
        ("a man to the left of a woman", "a man", None),
        ("a car in the middle of the street", "a car", None),
        ("a car on the left side of the road", "a car", None),
        ("a man raises his left hand", "his left hand", None),
        ("a man with a ring on the left hand", "a ring", None),
        ("a man stands on the left foot", "a man", None),
        ("a man left the house", "a man", None),
        ("a man right next to a dog", "a man", None),
        ("the man on the left on the right", "the man", None),
        ("the left man on the right", "the left man", None),
        ("a dog", "the left man", "left"),  # not in the caption: its own words
        ("a dog", "the man on the right", "right"),
        ("a dog on the left", "the man", None),
        ("on the left, no man", "no man", None),
    ],
)
def test_sides(caption, phrase, side):
    others = [other.text for other in Chunker.load().phrases(caption) if other.text != phrase]
    texts = [phrase, *(other for other in others if other not in phrase)]
    assert read_context(caption, find_phrases(caption, texts))[0].side == side


@pytest.mark.parametrize("text", [
    "two men", "men", "people", "kids", "a group of girls", "a crowd", "hats", "the dogs", "several hats",
    "a man and a woman", "2 dogs", "a couple", "children", "both boys", "policemen", "a rock band", "wheels",
])  # fmt: skip
def test_several(text):
    assert read_context(text, find_phrases(text, [text]))[0].several
    assert read_context("", find_phrases("", [text]))[0].several


@pytest.mark.parametrize("text", [
    "a man", "one man", "a bus", "glasses", "jeans", "a black and white dog", "the first man", "another man",
    "grass", "a dress", "a boy number 5", "himself", "a woman",
])  # fmt: skip
def test_one(text):
    assert not read_context(text, find_phrases(text, [text]))[0].several


def test_nothing():
    assert read_context("", ()) == ()
    assert read_context("a man", ()) == ()


def test_phrases_outside_the_caption_and_negated_ones_stay_alone():
    caption = "a man in no hat"
    phrases = find_phrases(caption, ["a man", "no hat", "his dog", "two left shoes"])
    assert read_context(caption, phrases) == (
        NOTHING,
        NOTHING,
        NOTHING,
        PhraseContext(None, None, None, "left", several=True),
    )


WORDS = """
    a the man woman dog hat shirt hand car wheel house red two men they who his her its their he it himself another one
    both of in on with holding wearing has is by 's and , . left right middle no without while each other group
""".split()  # noqa: SIM905


def check(caption, phrases):
    """What holds whatever a caption says."""
    context = read_context(caption, phrases)
    assert len(context) == len(phrases)
    order = [(phrase.start or 0, phrase.end or 0, i) for i, phrase in enumerate(phrases)]
    for i, found in enumerate(context):
        assert (found.owner is None) == (found.link is None)
        if phrases[i].start is None or phrases[i].negated:
            assert (found.owner, found.same_as) == (None, None)
        if found.same_as is not None:
            assert found.same_as != i
            assert context[found.same_as].same_as is None  # it is the first
            assert context[found.same_as].owner == found.owner
            assert phrases[found.same_as].start is not None
            assert order[found.same_as][2] != i
        seen = {i}
        above = found.owner
        while above is not None:
            assert above not in seen
            assert phrases[above].start is not None
            assert not phrases[above].negated
            seen.add(above)
            above = context[above].owner
    return context


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=24), st.data())
def test_owners_never_lead_in_a_circle(words, data):
    caption = " ".join(words)
    check(caption, Chunker.load().phrases(caption))
    spans = [(i, j) for i, j in itertools.combinations(range(len(words) + 1), 2) if j - i < 5]
    if spans:
        texts = [" ".join(words[i:j]) for i, j in data.draw(st.lists(st.sampled_from(spans), max_size=12))]
        check(caption, find_phrases(caption, texts))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read(caption):
    check(caption, Chunker.load().phrases(caption))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=3, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_phrases_does_not_matter(words, shuffler):
    caption = " ".join(words)
    phrases = list(Chunker.load().phrases(caption))
    order = list(range(len(phrases)))
    shuffler.shuffle(order)
    plain = read_context(caption, phrases)
    shuffled = read_context(caption, [phrases[i] for i in order])
    for place, i in enumerate(order):
        owner, same = shuffled[place].owner, shuffled[place].same_as
        assert (None if owner is None else order[owner]) == plain[i].owner
        assert (None if same is None else order[same]) == plain[i].same_as
        assert (shuffled[place].side, shuffled[place].link) == (plain[i].side, plain[i].link)


def test_a_long_caption():
    rng = random.Random(0)
    parts = [
        "a man in a hat",
        "the man with his dog",
        "a woman and her bag",
        "the wheel of the car",
        "the dog on the left",
    ]
    caption = " , ".join(rng.choice(parts) for _ in range(40))
    phrases = Chunker.load().phrases(caption)
    assert len(phrases) >= 60
    check(caption, phrases)


def test_spans_of_captions_as_given():
    caption = "a\u00a0man &amp; a woman in a&nbsp;red  hat"
    phrases = Chunker.load().phrases(caption)
    assert [phrase.text for phrase in phrases][-1] == "a red hat"
    plain = read_caption(caption).text
    assert read_context(caption, phrases) == read_context(plain, Chunker.load().phrases(plain))


def test_a_span_at_the_edge_of_words():
    phrase = Phrase("an", 3, 5, "an")  # inside 'man'
    assert read_context("a man", [phrase]) == (NOTHING,)
    assert read_context("a man", [Phrase("x", 1, 2, "x")]) == (NOTHING,)  # a space
    assert read_context("a man", [Phrase("x", 7, 9, "x")]) == (NOTHING,)  # beyond
