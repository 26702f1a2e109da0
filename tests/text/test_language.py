"""The note about captions that are hardly English."""

import re
import zipfile

import pytest

from grounding.text.language import reading_notes
from helpers.paths import SHARED

ANNOTATIONS = SHARED / "data" / "flickr30k_entities_trainval.zip"


@pytest.mark.parametrize(
    "caption",
    [
        "Ein Hund läuft über eine Wiese",
        "Kinder spielen Fußball",
        "UN HOMBRE CON SOMBRERO ROJO",
        "ein roter Hut",
        "der Hund",
        "Une femme avec un chapeau rouge",
        "un chien",
        "una mujer con un sombrero rojo",
        "Um homem com um chapéu vermelho",
        "Un uomo con un cappello rosso",
        "Een man met een rode hoed",
        "En man i röd hatt",
        "Mężczyzna w czerwonym kapeluszu",
        "Собака бежит по траве",
        "собака",
        "一只狗在草地上跑",
        "犬が走る",
        "كلب يجري في الحقل",
        "Η γυναίκα",
    ],
)
def test_other_languages(caption):
    (note,) = reading_notes(caption)
    assert note.startswith("captions are read as English: few of these words are known (")


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "!!! 🐶 3 4 5",
        "a man in a red hat",
        "qwrtz",
        "a qwrtz",
        "qwrtz zyx",
        "Zlatan Ibrahimovic",
        "A naïve café owner holds a piñata",
        "Angela Merkel",
        "Taylor Swift and Travis Kelce",
        "Pikachu, Charizard, Bulbasaur",
        "Mona Lisa by Leonardo da Vinci",
        "cat .dog .remote",
        "cat . dog . remote .",
        "a cappuccino with a croissant, à la carte",
        "ａ　ｍａｎ's h\u00adat",
    ],
)
def test_english_and_names(caption):
    assert reading_notes(caption) == ()


def test_words_of_the_vocabulary_are_known():
    assert reading_notes("xk1 xk2 xk3") != ()
    assert reading_notes("xk1 xk2 xk3", {"xk1", "xk3"}) == ()


def test_a_long_note_is_cut():
    (note,) = reading_notes("eins zwei drei vier fünf sechs sieben acht")
    assert note.endswith(", ...)")


@pytest.mark.skipif(not ANNOTATIONS.exists(), reason="needs the Flickr30k Entities annotations in ../shared/data")
def test_no_real_caption_has_a_note():
    with zipfile.ZipFile(ANNOTATIONS) as archive:
        for image in archive.read("val.txt").decode().split()[::5]:
            for line in archive.read(f"Sentences/{image}.txt").decode().splitlines():
                assert reading_notes(re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", line)) == ()
