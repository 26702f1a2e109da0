"""The Flickr30k Entities reader: the invented data set, broken copies of it, and the counts of the real one."""

import re
import shutil
import zipfile
from collections import Counter
from pathlib import PurePosixPath

import numpy as np
import pytest

from grounding.datasets.flickr30k import HOME, Flickr30kEntities, fingerprint
from grounding.errors import GroundingError
from helpers.entities import write_entities
from helpers.paths import SHARED

REAL = SHARED / "data" / "flickr30k_entities_trainval.zip"


@pytest.fixture
def folder(tmp_path):
    return write_entities(tmp_path / "entities")


def pack(folder, path, top="", only=("",)):
    """Zip a folder, below `top`, leaving out what does not start with `only`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and name.startswith(only):
                archive.write(file, top + name)
    return path


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def facts(images):
    """Everything in the records, comparable."""
    for image in images:
        boxes = [(chain, group.tolist()) for chain, group in image.boxes.items()]
        yield (
            image.id,
            image.width,
            image.height,
            image.captions,
            image.phrases,
            boxes,
            image.scene_chains,
            image.unrelated,
        )


def test_what_is_read(folder):
    entities = Flickr30kEntities(folder)
    assert entities.splits == ("train", "val", "test")
    assert entities.ids("val") == ["1001", "1002", "1003", "1004", "1005"]
    first, second, third, _, fifth = entities.read("val")
    assert (first.width, first.height) == (200, 100)
    assert first.captions[:2] == (
        "Two men in shirts wave a flag on a street .",
        "They point into the air in red shirts .",
    )
    assert [(p.sentence, p.index, p.text, p.chain, p.types) for p in first.phrases] == [
        (0, 0, "Two men", "1", ("people",)),
        (0, 1, "shirts", "4", ("clothing",)),
        (0, 2, "a flag", "2", ("other",)),
        (0, 3, "a street", "3", ("scene",)),
        (1, 0, "They", "1", ("people",)),
        (1, 1, "the air", "0", ("notvisual",)),
        (1, 2, "red shirts", "4", ("clothing",)),
    ]
    assert {chain: group.tolist() for chain, group in first.boxes.items()} == {
        "1": [[0, 0, 40, 50], [60, 0, 100, 50]],
        "4": [[100, 20, 150, 40]],
    }
    assert all(group.dtype == np.float64 for group in first.boxes.values())
    assert [phrase.chain for phrase in first.boxed_phrases] == ["1", "4", "1", "4"]
    assert first.scene_chains == {"3"}
    assert [(phrase.start, phrase.end, phrase.types) for phrase in second.phrases] == [
        (5, 10, ("people",)),
        (18, 23, ("people",)),
        (0, 9, ("animals", "other")),
        (18, 24, ("vehicles",)),
        (30, 37, ("other",)),
    ]
    assert second.boxes["8"].tolist() == second.boxes["9"].tolist() == [[20, 80, 40, 118]]
    assert third.scene_chains == {"11", "12"}
    assert "12" in third.boxes
    assert third.unrelated == {1}
    assert first.unrelated == frozenset()
    assert [phrase.sentence for phrase in fifth.phrases] == [1, 1]


def test_spans_hold_the_words_of_the_phrase(folder):
    for image in Flickr30kEntities(folder).read("val"):
        assert len(image.captions) == 5
        for phrase in image.phrases:
            assert image.captions[phrase.sentence][phrase.start : phrase.end] == phrase.text
        assert not any("[" in caption or "]" in caption for caption in image.captions)


def test_every_layout_reads_the_same(folder, tmp_path):
    expected = list(facts(Flickr30kEntities(folder).read("val")))
    (tmp_path / "clone").mkdir()
    for name in ("train.txt", "val.txt", "test.txt", "UNRELATED_CAPTIONS"):
        shutil.copy(folder / name, tmp_path / "clone")
    pack(folder, tmp_path / "clone" / "annotations.zip", only=("Sentences/", "Annotations/"))
    windows = shutil.copytree(folder, tmp_path / "windows")
    for file in windows.rglob("*"):
        if file.is_file():
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    mac = pack(folder, tmp_path / "mac.zip", top="entities/")
    with zipfile.ZipFile(mac, "a") as archive:
        archive.writestr("__MACOSX/entities/._val.txt", b"\x00\x05")
        archive.writestr("__MACOSX/entities/Sentences/._1001.txt", b"\x00\x05")
    layouts = {
        "flat zip": pack(folder, tmp_path / "flat.zip"),
        "zip that wraps": pack(folder, tmp_path / "wrapped.zip", top="flickr30k_entities/"),
        "clone with its zip": tmp_path / "clone",
        "Windows line ends and marks of byte order": windows,
        "zip made on a Mac": mac,
    }
    for layout, path in layouts.items():
        entities = Flickr30kEntities(path)
        assert entities.splits == ("train", "val", "test"), layout
        assert list(facts(entities.read("val"))) == expected, layout


def test_a_clone_unpacked_over_its_zip_is_read_from_the_files(folder):
    with zipfile.ZipFile(folder / "annotations.zip", "w") as archive:
        archive.writestr("Sentences/1001.txt", "An older sentence .")
    assert next(Flickr30kEntities(folder).read("val")).captions[1] == "They point into the air in red shirts ."


def test_the_fingerprint_changes_with_any_fact(folder):
    before = fingerprint(list(Flickr30kEntities(folder).read("val")))
    assert before == fingerprint(list(Flickr30kEntities(folder).read("val")))
    seen = {before}
    for name, old, new in [
        ("Annotations/1001.xml", "<xmax>40<", "<xmax>41<"),
        ("Annotations/1001.xml", "<width>200<", "<width>201<"),
        ("Sentences/1001.txt", "/people Two", "/animals Two"),
        ("Sentences/1001.txt", "#4/clothing red", "#1/clothing red"),
        ("val.txt", "1005", ""),
    ]:
        file = folder / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        seen.add(fingerprint(list(Flickr30kEntities(folder).read("val"))))
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("Sentences/1001.txt", "[/EN#0/notvisual the air]", "[/EN#0/notvisual the air", "line 2: a mark is broken"),
        ("Sentences/1001.txt", "[/EN#1/people They]", "[/EN#/people They]", "line 2: a mark is broken near '[/EN#/peo"),
        ("Sentences/1001.txt", "[/EN#1/people They]", "[/EN#1 They]", "line 2: a mark is broken near '[/EN#1 They"),
        ("Sentences/1001.txt", "[/EN#1/people They]", "[EN#1/people They]", "line 2: a mark is broken near '[EN#1/peo"),
        ("Sentences/1001.txt", "[/EN#1/people They]", "[/EN#1/people They]]", "line 2: a mark is broken near '] point"),
        ("Sentences/1001.txt", "[/EN#1/people They]", "[/EN#1/people ]", "line 2: a mark is broken"),
        ("Sentences/1001.txt", "#4/clothing shirts", "#4/clothes shirts", "line 1: unknown entity type 'clothes'"),
        ("Sentences/1002.txt", "/animals/other", "/animals/toys", "line 2: unknown entity type 'toys'"),
        ("Annotations/1001.xml", "</size>", "</siz>", "line 7: broken XML"),
        ("Annotations/1001.xml", "</annotation>", "", "broken XML"),
        ("Annotations/1001.xml", "<xmax>150<", "<xmax>201<", "box 101 21 201 40 of chain 4 is not inside 200 x 100 px"),
        ("Annotations/1001.xml", "<ymax>40<", "<ymax>101<", "box 101 21 150 101 of chain 4 is not inside 200 x 100 px"),
        ("Annotations/1001.xml", "<xmin>101<", "<xmin>0<", "box 0 21 150 40 of chain 4 is not inside"),
        ("Annotations/1001.xml", "<ymin>21<", "<ymin>0<", "box 101 0 150 40 of chain 4 is not inside"),
        ("Annotations/1001.xml", "<xmax>150<", "<xmax>100<", "box 101 21 100 40 of chain 4 is not inside"),
        ("Annotations/1001.xml", "<ymax>40<", "<ymax>20<", "box 101 21 150 20 of chain 4 is not inside"),
        ("Annotations/1001.xml", "<xmax>150<", "<xmax>149.5<", "box edge is no whole number (invalid literal for "),
        ("Annotations/1001.xml", "<name>4</name>", "<name> </name>", "an object has an empty name"),
        ("Annotations/1001.xml", "<height>100</height>", "", "a size or box edge is no whole number"),
        ("UNRELATED_CAPTIONS", "1003 2", "1003", "CAPTIONS, line 2: expected '<image id> <sentence number>'"),
        ("UNRELATED_CAPTIONS", "1003 2", "1003 0", "CAPTIONS, line 2: expected '<image id> <sentence number>'"),
        ("val.txt", "1005", "1002", "val.txt, line 5: image 1002 stands in line 2 already"),
        ("val.txt", "1005", "1006", "has no Annotations/1006.xml: is the copy whole?"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line(folder, name, old, new, said):
    file = folder / name
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    with pytest.raises(GroundingError) as error:
        list(Flickr30kEntities(folder).read("val"))
    message = one_line(error)
    assert said in message
    assert PurePosixPath(name).name in message or "1006" in message


def test_boxes_that_touch_the_edges_of_the_image_are_inside(folder):
    file = folder / "Annotations/1001.xml"
    file.write_text(file.read_text().replace("<xmin>101<", "<xmin>200<").replace("<xmax>150<", "<xmax>200<"))
    assert next(Flickr30kEntities(folder).read("val")).boxes["4"].tolist() == [[199, 20, 200, 40]]  # one column


@pytest.mark.parametrize("name", ["Sentences/1002.txt", "val.txt", "UNRELATED_CAPTIONS"])
def test_text_that_is_not_utf_8(folder, name):
    (folder / name).write_bytes(b"caf\xe9")
    with pytest.raises(GroundingError) as error:
        list(Flickr30kEntities(folder).read("val"))
    assert f"{name} is not UTF-8 text" in one_line(error)


def test_other_letters_are_read(folder):
    (folder / "Sentences/1001.txt").write_text("[/EN#1/people Zoë’s café] .\n", encoding="utf-8")
    image = next(Flickr30kEntities(folder).read("val"))
    assert (image.captions[0], image.phrases[0].text, image.phrases[0].end) == ("Zoë’s café .", "Zoë’s café", 10)


@pytest.mark.parametrize("missing", ["Annotations/1003.xml", "Sentences/1003.txt"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    images = Flickr30kEntities(folder).read("val")
    assert [next(images).id, next(images).id] == ["1001", "1002"]
    with pytest.raises(GroundingError) as error:
        next(images)
    assert f"has no {missing}: is the copy whole?" in one_line(error)


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (["Sentences"], "has no Sentences/*.txt: "),
        (["Annotations"], "has no Annotations/*.xml: "),
        (["train.txt", "val.txt", "test.txt"], "has no train.txt, val.txt or test.txt: "),
        (["UNRELATED_CAPTIONS"], "has no UNRELATED_CAPTIONS: "),
        (["Sentences", "UNRELATED_CAPTIONS"], "has no Sentences/*.txt and no UNRELATED_CAPTIONS: "),
    ],
)
def test_a_missing_part_is_named_with_the_place_to_get_it(folder, removed, said):
    for name in removed:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(GroundingError) as error:
        Flickr30kEntities(folder)
    message = one_line(error)
    assert said in message
    assert message.endswith(HOME)
    assert HOME == "https://github.com/BryanPlummer/flickr30k_entities"


@pytest.mark.parametrize("split", ["dev", "test", ""])
def test_a_split_that_is_not_there(folder, split):
    (folder / "test.txt").unlink()
    with pytest.raises(GroundingError) as error:
        Flickr30kEntities(folder).ids(split)
    assert f"split '{split}' is not in {folder}: expected one of train, val" in one_line(error)


def test_places_that_cannot_be_read(tmp_path):
    with pytest.raises(GroundingError) as error:
        Flickr30kEntities(tmp_path / "nowhere")
    assert "nowhere does not exist: expected a folder or a zip" in one_line(error)
    (tmp_path / "notes.txt").write_text("no zip")
    with pytest.raises(GroundingError) as error:
        Flickr30kEntities(tmp_path / "notes.txt")
    assert "notes.txt cannot be read as a zip" in one_line(error)
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for path in (tmp_path, tmp_path / "empty.zip"):
        with pytest.raises(GroundingError) as error:
            Flickr30kEntities(path)
        assert "has no Sentences/*.txt and no Annotations/*.xml and no train.txt" in one_line(error)


real = pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared: the annotations of Flickr30k Entities")
VAL = {"people": 5813, "other": 3284, "clothing": 2335, "scene": 1533, "bodyparts": 541, "animals": 523}
VAL |= {"vehicles": 338, "instruments": 155}


def boxes_by_pattern(xml):
    """Chain -> its boxes as half-open edges, from the raw text of an XML file, without a parser."""
    found = {}
    for thing in xml.split("<object>")[1:]:
        edges = [re.findall(rf"<{edge}>(\d+)<", thing) for edge in ("xmin", "ymin", "xmax", "ymax")]
        if any(edges):
            x0, y0, x1, y1 = (int(*edge) for edge in edges)
            for chain in re.findall(r"<name>(\d+)<", thing):
                found.setdefault(chain, []).append([x0 - 1, y0 - 1, x1, y1])
    return found


@pytest.mark.slow
@real
def test_the_real_val_split_counts_what_is_published_and_reads_as_its_raw_text():
    types, phrases = Counter(), 0
    with zipfile.ZipFile(REAL) as archive:
        names = archive.read("val.txt").decode().split()
        images = list(Flickr30kEntities(REAL).read("val"))
        assert [image.id for image in images] == names
        assert len(names) == 1000
        for image in images:
            sentences = archive.read(f"Sentences/{image.id}.txt").decode()
            xml = archive.read(f"Annotations/{image.id}.xml").decode()
            boxes = boxes_by_pattern(xml)
            marks = [mark.split(" ", 1) for mark in re.findall(r"\[/EN#([^\]]*)\]", sentences)]
            boxed = [(label.split("/"), text) for label, text in marks if label.split("/")[0] in boxes]
            phrases += len(boxed)
            types.update(kind for (_, *kinds), _ in boxed for kind in kinds)
            assert [[phrase.chain, *phrase.types] for phrase in image.boxed_phrases] == [label for label, _ in boxed]
            assert [phrase.text for phrase in image.boxed_phrases] == [text for _, text in boxed]
            assert len(image.phrases) == len(marks)
            assert {chain: group.tolist() for chain, group in image.boxes.items()} == boxes
            assert image.scene_chains == set(re.findall(r"<name>(\d+)</name>\s*<scene>1", xml))
            assert (image.width, image.height) == tuple(
                int(*re.findall(rf"<{s}>(\d+)", xml)) for s in ("width", "height")
            )
            plain = re.sub(r"\[/EN#\S+ ([^\]]*)\]", r"\1", sentences)
            assert "\n".join(image.captions) == "\n".join(line for line in plain.split("\n") if line.strip())
            assert all(image.captions[p.sentence][p.start : p.end] == p.text for p in image.phrases)
    assert phrases == 14_433
    assert types == VAL


@real
@pytest.mark.slow
def test_the_real_train_split_reads():
    count = boxed = 0
    for image in Flickr30kEntities(REAL).read("train"):
        count, boxed = count + 1, boxed + len(image.boxed_phrases)
    assert (count, boxed) == (29_783, 427_226)
