"""Prompts that are lists: one phrase an item. Sentences stay sentences."""

import re
import zipfile

import pytest

from grounding.text.lists import list_items
from grounding.text.phrases import Chunker
from grounding.text.tokens import tokenize
from helpers.paths import SHARED

ANNOTATIONS = SHARED / "data" / "flickr30k_entities_trainval.zip"


def texts(caption):
    return [phrase.text for phrase in Chunker.load().phrases(caption)]


@pytest.mark.parametrize(
    ("prompt", "items"),
    [
        ("cat . dog . remote .", ["cat", "dog", "remote"]),
        ("cat. dog. remote", ["cat", "dog", "remote"]),
        ("cat.dog.remote.", ["cat", "dog", "remote"]),
        ("people. astronaut", ["people", "astronaut"]),
        ("cat, dog, remote control", ["cat", "dog", "remote control"]),
        ("cat, dog, and remote", ["cat", "dog", "remote"]),
        ("a red car; a dog", ["a red car", "a dog"]),
        ("person | car|dog", ["person", "car", "dog"]),
        ("cat / dog", ["cat", "dog"]),
        ("cat\ndog\nremote control", ["cat", "dog", "remote control"]),
        ("- cat\r\n- a dog\r\n", ["cat", "a dog"]),
        ("1. cat\n2. traffic light", ["cat", "traffic light"]),
        ("the running man . a person in a red shirt .", ["the running man", "a person in a red shirt"]),
        ("cat，dog，remote", ["cat", "dog", "remote"]),
        ("qwrtz . dog .", ["qwrtz", "dog"]),
        ("left eye . right eye . nose", ["left eye", "right eye", "nose"]),
        ("traffic light\nstop sign\nfire hydrant", ["traffic light", "stop sign", "fire hydrant"]),
        ("red car, blue car, green car", ["red car", "blue car", "green car"]),
        ("cat\r\ndog\r\nremote", ["cat", "dog", "remote"]),
        ("cat \u2022 dog \u2022 remote control", ["cat", "dog", "remote control"]),
        ("cat .dog .remote", ["cat", "dog", "remote"]),
        ("#cat #dog #remote", ["cat", "dog", "remote"]),
    ],
)
def test_lists(prompt, items):
    assert texts(prompt) == items


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A man, wearing a hat, runs.", ["A man", "a hat"]),
        ("Two dogs run. A man watches.", ["Two dogs", "A man"]),
        ("A man, a woman and a dog.", ["A man", "a woman", "a dog"]),
        ("A tall, thin man", ["A tall, thin man"]),
        ("a red, white, and blue shirt", ["a red, white, and blue shirt"]),
        ("A dog on the beach #sunset #dog", ["A dog", "the beach", "sunset", "dog"]),
        ("a man wearing #7", ["a man", "7"]),
        ("A man in a hat. A dog on grass.", ["A man", "a hat", "A dog", "grass"]),
        ("A dog runs across the U.S. Army base.", ["A dog", "the U.S. Army base"]),
        ("a red\nhat", ["a red hat"]),
        ("old\nman", ["old man"]),
        ("two\ndogs", ["two dogs"]),
        ("red\nhat", ["red hat"]),
        ("A man\nin a red\nhat runs.", ["A man", "a red hat"]),
    ],
)
def test_sentences(caption, phrases):
    assert texts(caption) == phrases


def test_spans_of_items():
    prompt = " cat . a dog."
    spans = [(phrase.start, phrase.end) for phrase in Chunker.load().phrases(prompt)]
    assert [prompt[a:b] for a, b in spans] == ["cat", "a dog"]


@pytest.mark.parametrize(
    "text", ["", ".", "cat", "cat .", "Mr. Smith", "no. 5", "1,000 dogs", "2.5 dogs", "the U.S. flag"]
)
def test_no_list(text):
    assert list_items(text) == []


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs the Flickr30k Entities annotations in ../shared/data")
def test_hardly_a_real_caption_is_taken_for_a_list():
    chunker = Chunker.load()
    lists = captions = 0
    with zipfile.ZipFile(ANNOTATIONS) as archive:
        for image in archive.read("val.txt").decode().split():
            for line in archive.read(f"Sentences/{image}.txt").decode().splitlines():
                caption = re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", line)
                captions += 1
                if list_items(caption):
                    lists += chunker._items(caption, list(chunker._chunks(tokenize(caption)))) != []
    assert captions == 5000
    assert lists <= 2
