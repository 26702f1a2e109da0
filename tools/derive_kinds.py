"""Derive the table of kinds, synonyms and spellings of `grounding.text` from WordNet 3.1.

Which senses of a noun are kept is decided by WordNet's order and by captions: a sense counts more whose kin are the
words that can stand where the noun stands, by the word vectors of `grounding.text` (McCarthy et al. 2004). The same
inputs give the same file, byte for byte.
"""

import argparse
import functools
import lzma
import math
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from train_text import Sentence, read_sentences

from grounding.errors import GroundingError
from grounding.text.kinds import KINDS_FILE, noun_forms
from grounding.text.tokens import is_content_word, stem, tokenize
from grounding.text.vectors import WordVectors

NOTICE_FILE = "WORDNET-LICENSE.txt"
NOTICE_LINES = 29  # at the top of each file of WordNet
TOO_GENERAL = 1000  # synsets below one that says nothing: entity, object, artifact, act, ...
GENERAL_KINDS = frozenset({"person", "animal", "plant", "food", "structure", "body_part"})  # said, and all below them
CONSIDERED = 5  # WordNet's first senses of a noun
KEPT = 2  # senses of a noun, at most
KEPT_SHARE = 0.8  # of the weight of the best sense
NEXT_SENSE = 0.85  # weight of a sense against the one before it in WordNet
PROPER_NOUN = 0.3  # weight of a sense that is written with a capital
METAPHOR = 0.5  # weight of what is called by the name of an animal, or of a person by the name of a thing
FREQUENT = 0.25  # weight added for each power of ten by which a synonym or the kind above is frequent in captions
SPECIFIC = 500  # synsets below a kind whose frequency says something
HEAD_SHARE = 0.2  # a word that is an adjective or a verb too is a noun where it ends a phrase at least so often
NEIGHBOURS = 25  # words whose kinds speak for a sense
MIN_COUNT = 3  # captions with two words in a row that are one noun
MIN_BELOW = 5  # kept synsets below a kind of which only names of several words are known

# Lexicographer files: what can be seen weighs 1.
CONCRETE = {3: "tops", 5: "animal", 6: "artifact", 8: "body", 13: "food", 17: "object", 18: "person", 20: "plant"}
LESS = {4: 0.7, 7: 0.6, 10: 0.7, 11: 0.8, 14: 0.8, 15: 0.8, 19: 0.8, 27: 0.8, 28: 0.7}
TOPS, ACT, ANIMAL, ARTIFACT, FOOD, PERSON, SUBSTANCE = 3, 4, 5, 6, 13, 18, 27
NAMED_AFTER = frozenset({ARTIFACT, PERSON, FOOD, SUBSTANCE})  # an animal
LEAST = 0.5  # cognition, feeling, shape, state, ...: a noun that mostly means such a thing is left out
SEEN = frozenset(CONCRETE) | frozenset(LESS)

# What captions mean by a word, where WordNet has it as something else, or not at all.
MEANT = {"instrument": "musical_instrument", "clothes": "clothing", "lorry": "truck", "queen": "queen_regnant"}
ALSO_MEANT = {"people": "person"}
# WordNet has young animals below 'young mammal' only.
YOUNG = {"kitten": "cat", "lamb": "sheep", "calf": "cow", "foal": "horse", "fawn": "deer", "duckling": "duck"}
YOUNG |= {"gosling": "goose", "chick": "chicken", "piglet": "pig", "cygnet": "swan", "tadpole": "frog", "kid": "child"}

# Two words of one synset are spelt differently where these make them equal, in this order.
SPELLINGS = tuple(
    (re.compile(rule.split(">")[0]), rule.split(">")[1])
    for rule in r"""
    [-_'.\s]> grey>gray aero>air augh>af ough>o moust>must ell?ery>elry pyj>paj teeshirt>tshirt kerb>curb mum>mom our>or
    ([bcdtv])re$>\1er is(?=e|ing|at)>iz ys(?=e|ing)>yz [ao]e>e ogue$>og ence$>ense ([ck]|cq|q)ue?$>k ck>k c$>k
    ^sc(?=ept)>sk inium>inum gh>g ph>f cos(?=y|i)>coz ey$>y (\w)\1>\1 e$> w$> y>i
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Synset:
    """A synset of WordNet's nouns: its lexicographer file, its words as written, the synsets above it."""

    file: int
    words: tuple[str, ...]
    above: tuple[str, ...]
    is_name: bool  # an instance, such as a city or a person of history


@dataclass(frozen=True, eq=False)
class Nouns:
    """WordNet's nouns: synsets by their offset, and the offsets of each noun, the most frequent sense first."""

    synsets: dict[str, Synset]
    index: dict[str, list[str]]
    _above: dict[str, frozenset[str]] = field(default_factory=dict)

    def with_kinds(self, offset: str) -> frozenset[str]:
        """A synset and all above it."""
        if offset not in self._above:
            above = (self.with_kinds(parent) for parent in self.synsets[offset].above)
            self._above[offset] = frozenset({offset}).union(*above)
        return self._above[offset]

    @functools.cached_property
    def below(self) -> Counter[str]:
        """How many synsets stand below each, itself counted."""
        return Counter(kind for offset in self.synsets for kind in self.with_kinds(offset))

    @functools.cached_property
    def general(self) -> frozenset[str]:
        """The synsets that say too little to be the kind of anything."""
        said = {offset for offset, synset in self.synsets.items() if synset.words[0] in GENERAL_KINDS}
        large = {offset for offset, count in self.below.items() if count > TOO_GENERAL}
        return frozenset(offset for offset in large if said.isdisjoint(self.with_kinds(offset)))

    @property
    def colour(self) -> str:
        """The synset of all colours."""
        return self.synsets[self.index["chromatic_color"][0]].above[0]

    def is_seen(self, offset: str) -> bool:
        """Say whether a synset is of what can be seen; of the tops, those that kinds are said of are."""
        synset = self.synsets[offset]
        return synset.file in SEEN and (synset.file != TOPS or synset.words[0] in GENERAL_KINDS)

    def senses(self, word: str) -> list[str]:
        """The offsets of a word, singular or plural, without those of names."""
        found = [offset for form in noun_forms(word) for offset in self.index.get(form, ())]
        return [offset for offset in dict.fromkeys(found) if not self.synsets[offset].is_name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and derive; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wordnet",
        type=Path,
        required=True,
        metavar="TAR",
        help="a tar with wordnet31/data.noun, index.noun, data.adj, index.adj and data.verb",
    )
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="ZIP", help="Flickr30k Entities, as for tools/train_text.py"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "grounding" / "text",
        metavar="DIR",
        help=f"folder for {KINDS_FILE} and {NOTICE_FILE} (default: grounding/text of this checkout)",
    )
    options = parser.parse_args(arguments)
    try:
        derive(options.wordnet, options.annotations, options.output)
    except GroundingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def derive(wordnet: Path, annotations: Path, output: Path) -> None:
    """Write the table and WordNet's notice, and print their sizes."""
    if not output.is_dir():
        raise GroundingError(f"no folder {str(output)!r}: make it first, or leave --output out")
    files = read_wordnet(wordnet)
    nouns = read_nouns(files)
    others = {
        word.lower() for name in ("data.adj", "data.verb") for _, words in data_lines(files[name]) for word in words
    }
    kept = kept_senses(nouns, read_sentences(annotations, "train"), others)
    lines = forest_lines(nouns, kept | colours(nouns, files))
    text = "\n".join(lines) + "\n\n" + "\n".join(spelling_lines(files)) + "\n"
    path = output / KINDS_FILE
    path.write_bytes(lzma.compress(text.encode(), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))
    notice = [line[line.index(" ", 2) + 1 :].rstrip() for line in files["data.noun"][:NOTICE_LINES]]
    (output / NOTICE_FILE).write_text("\n".join(notice) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(lines):,} synsets")


def read_wordnet(path: Path) -> dict[str, list[str]]:
    """The lines of WordNet's files, by name."""
    try:
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
            files = {name: file.read().decode().splitlines() for name, file in members.items() if file}
    except OSError as error:
        raise GroundingError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except tarfile.TarError as error:
        raise GroundingError(f"{str(path)!r} is no tar: {error}") from error
    missing = {"data.noun", "index.noun", "data.adj", "index.adj", "data.verb"} - files.keys()
    if missing:
        raise GroundingError(f"{str(path)!r} lacks {', '.join(sorted(missing))} of WordNet")
    return files


def data_lines(lines: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The fields of each synset of a data file, and its words."""
    for line in lines:
        if not line.startswith(" "):
            fields = line.split(" ")
            words = [re.sub(r"\(\w+\)$", "", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
            yield fields, words


def read_nouns(files: dict[str, list[str]]) -> Nouns:
    """WordNet's nouns."""
    synsets = {}
    for fields, words in data_lines(files["data.noun"]):
        pointers = fields[5 + 2 * len(words) :]
        above = [(pointers[i], pointers[i + 1]) for i in range(0, 4 * int(fields[4 + 2 * len(words)]), 4)]
        kinds = tuple(offset for sign, offset in above if sign == "@")
        is_name = any(sign == "@i" for sign, _ in above)
        synsets[fields[0]] = Synset(int(fields[1]), tuple(words), kinds, is_name)
    index = {}
    for line in files["index.noun"]:
        if not line.startswith(" "):
            fields = line.split()
            index[fields[0]] = fields[-int(fields[2]) :]
    nouns = Nouns(synsets, index)
    for word, kind in YOUNG.items():
        first, parent = nouns.index[word][0], nouns.index[kind][0]
        synset = synsets[first]
        if parent != first and parent not in nouns.with_kinds(first):
            synsets[first] = Synset(synset.file, synset.words, (parent, *synset.above), synset.is_name)
    nouns._above.clear()
    return nouns


def kept_senses(nouns: Nouns, sentences: Sequence[Sentence], other_words: set[str]) -> dict[str, list[str]]:
    """The senses of each noun worth a place in the table, the likeliest first.

    Args:
        other_words: adjectives and verbs, which are left out where captions do not use them as nouns.
    """
    in_captions, pairs = caption_words([caption for caption, _ in sentences])
    weights = Weights(nouns, in_captions, supports(nouns, in_captions))
    no_nouns = other_words - used_as_nouns(sentences)
    kept = {}
    for word, offsets in nouns.index.items():
        if "_" in word:
            wanted = pairs[word] >= MIN_COUNT
        else:
            wanted = word in in_captions or any(nouns.synsets[o].file in CONCRETE for o in offsets[:KEPT])
        senses = [offset for offset in offsets if not nouns.synsets[offset].is_name][:CONSIDERED]
        is_animal = bool(senses) and nouns.synsets[senses[0]].file == ANIMAL
        if word in no_nouns and in_captions[word] >= MIN_COUNT and not is_animal:  # a colour, or no noun
            senses = [offset for offset in senses if nouns.colour in nouns.with_kinds(offset)]
        if word.endswith("ing"):  # what one does is told by the verb
            senses = [offset for offset in senses if nouns.synsets[offset].file != ACT]
        if wanted and senses:
            best = sorted((-weights.of(word, senses, i), i) for i in range(len(senses)))
            likely = [senses[i] for score, i in best if score <= KEPT_SHARE * best[0][0]][:KEPT]
            if nouns.synsets[likely[0]].file in SEEN:
                kept[word] = likely
    for word, meant in MEANT.items():
        kept[word] = [nouns.index[meant][0]]
    kept["color"] = kept["colour"] = [nouns.colour]
    for word, meant in ALSO_MEANT.items():
        kept[word] = [*kept[word][: KEPT - 1], nouns.index[meant][0]]
    return kept


def colours(nouns: Nouns, files: dict[str, list[str]]) -> dict[str, list[str]]:
    """Adjectives of colour that are no nouns ('reddish'), each with the synset of its colour."""
    index = (line.split() for line in files["index.adj"] if not line.startswith(" "))
    usual = {fields[0]: fields[-int(fields[2])] for fields in index}
    found: dict[str, list[str]] = {}
    for fields, words in data_lines(files["data.adj"]):
        first = nouns.index.get(words[0], [])[:1]
        if first and nouns.colour in nouns.with_kinds(first[0]) and usual.get(words[0]) == fields[0]:
            found |= {word: first for word in words if "_" not in word and word not in nouns.index}
    return found


@dataclass(frozen=True, slots=True)
class Weights:
    """How likely the senses of a noun are meant, from how often words are in captions and what `supports` says."""

    nouns: Nouns
    counts: Counter[str]
    support: dict[tuple[str, str], float]

    def of(self, word: str, senses: Sequence[str], index: int) -> float:
        """The weight of one of the senses of a word, up to a factor for the word."""
        synset = self.nouns.synsets[senses[index]]
        seen = 1.0 if synset.file in CONCRETE else LESS.get(synset.file, LEAST)
        if any(name.lower() == word and name != word for name in synset.words):
            seen *= PROPER_NOUN
        support = self.support.get((stem(word), senses[index]))
        is_other = index > 0 or synset.words[0].lower() != word or self.nouns.below[senses[index]] == 1
        if is_other and any(self._gave_its_name(word, other, synset, support) for other in senses):
            seen *= METAPHOR
        return NEXT_SENSE**index * seen * (self._frequent(word, synset) if support is None else support)

    def _gave_its_name(self, word: str, other: str, synset: Synset, support: float | None) -> bool:
        """Say whether an animal has given its name to what a sense means, or a thing that captions mean to a person."""
        file = self.nouns.synsets[other].file
        thing = (
            file == ARTIFACT and synset.file == PERSON and (support or 0) <= self.support.get((stem(word), other), 0)
        )
        return thing or (file == ANIMAL and synset.file in NAMED_AFTER)

    def _frequent(self, word: str, synset: Synset) -> float:
        """From 1 up, more where captions often name a synonym or the kind above."""
        above = [self.nouns.synsets[kind] for kind in synset.above if self.nouns.below[kind] <= SPECIFIC]
        names = {name.lower() for near in (synset, *above) for name in near.words} - {word}
        return 1 + FREQUENT * math.log10(1 + max((self.counts[name] for name in names), default=0))


def caption_words(captions: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each noun is in captions, singular or as what can be its plural, and two or three words in a row."""
    words: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for caption in captions:
        tokens = [token.text.lower() for token in tokenize(caption)]
        words.update(token for token in tokens if is_content_word(token))
        for size in (2, 3):
            rows.update("_".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
    forms: Counter[str] = Counter()
    for word, count in words.items():
        forms.update(dict.fromkeys(noun_forms(word), count))
    return forms, rows


def used_as_nouns(sentences: Sequence[Sentence]) -> set[str]:
    """The words, and what they can be the plural of, that end an annotated phrase often enough."""
    uses: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for caption, spans in sentences:
        last = {end for _, end in spans}
        for token in tokenize(caption):
            uses[token.text.lower()] += 1
            ends[token.text.lower()] += token.end in last
    nouns = [word for word, count in ends.items() if count >= HEAD_SHARE * uses[word]]
    return {form for word in nouns for form in noun_forms(word)}


def supports(nouns: Nouns, in_captions: Counter[str]) -> dict[tuple[str, str], float]:
    """For each sense of a stem that has a word vector, how far the words nearest to it are of its kind; at most 1."""
    vectors = WordVectors.embedded()
    word_of = {stem(word): word for word in sorted(in_captions, key=lambda word: (in_captions[word], word))}
    senses = {s: nouns.senses(word_of.get(s, s))[:CONSIDERED] for s in vectors.stems}
    stems = [s for s in vectors.stems if senses[s]]
    rows = vectors.vectors[[s in senses and bool(senses[s]) for s in vectors.stems]].astype(np.float64)
    found = {}
    for row, s in enumerate(stems):
        cosines = (rows @ rows[row]).round(6)
        cosines[row] = 0.0
        total: Counter[str] = Counter()
        for other in np.argsort(-cosines, kind="stable")[:NEIGHBOURS]:
            kinship = {
                offset: max(kin(nouns, offset, theirs) for theirs in senses[stems[other]]) for offset in senses[s]
            }
            share = cosines[other] / (sum(kinship.values()) or 1.0)
            total.update({offset: share * value for offset, value in kinship.items()})
        best = max(total.values()) or 1.0
        found |= {(s, offset): max(value, 0.0) / best for offset, value in total.items()}
    return found


def kin(nouns: Nouns, first: str, second: str) -> float:
    """How specific the most specific kind of two synsets is, from 0 (all synsets) to 1 (one); Seco et al. 2004."""
    common = nouns.with_kinds(first) & nouns.with_kinds(second)
    fewest = min((nouns.below[kind] for kind in common), default=len(nouns.synsets))
    return 1 - math.log(fewest) / math.log(len(nouns.synsets))


def forest_lines(nouns: Nouns, kept: dict[str, list[str]]) -> list[str]:
    """The table's synsets as `Kinds.from_text` reads them: depth first, in WordNet's order."""
    names: dict[str, list[str]] = {}
    for word, offsets in kept.items():
        for rank, offset in enumerate(offsets):
            names.setdefault(offset, []).append(word.replace("_", " ") + "+" * rank)
    below = Counter(kind for offset in names for kind in nouns.with_kinds(offset))
    for offset, count in below.items():
        if offset not in names and count >= MIN_BELOW:
            names[offset] = [word.lower().replace("_", " ") + "+" for word in nouns.synsets[offset].words[:2]]
    shown = {offset for offset in names.keys() - nouns.general if nouns.is_seen(offset)}

    @functools.cache
    def above(offset: str) -> tuple[str, ...]:
        """The nearest synsets above that are in the table."""
        parents = [offset_ if offset_ in shown else above(offset_) for offset_ in nouns.synsets[offset].above]
        flat = [one for parent in parents for one in ((parent,) if isinstance(parent, str) else parent)]
        return tuple(dict.fromkeys(flat))

    children: dict[str, list[str]] = {}
    for offset in sorted(shown):
        children.setdefault((above(offset) or ("",))[0], []).append(offset)
    order: list[tuple[str, int]] = []

    def visit(offset: str, depth: int) -> None:
        for child in children.get(offset, ()):
            order.append((child, depth))
            visit(child, depth + 1)

    visit("", 0)
    number = {offset: line for line, (offset, _) in enumerate(order)}
    lines = []
    for offset, depth in order:
        others = ",".join(str(number[parent]) for parent in above(offset)[1:] if parent in number)
        lines.append(" " * depth + ",".join(sorted(names[offset])) + ("@" + others if others else ""))
    return lines


def spelling_lines(files: dict[str, list[str]]) -> list[str]:
    """Sets of stems that are ways to spell one word: words of one synset that `SPELLINGS` makes equal."""
    lines = set()
    for name in ("data.noun", "data.verb", "data.adj"):
        for _, words in data_lines(files[name]):
            forms: dict[str, set[str]] = {}
            for word in words:
                if "_" not in word:
                    forms.setdefault(spelling(word.lower()), set()).add(stem(word))
            lines |= {" ".join(sorted(stems)) for stems in forms.values() if len(stems) > 1}
    return sorted(lines)


def spelling(word: str) -> str:
    """One form for all ways to spell a word."""
    for pattern, form in SPELLINGS:
        word = pattern.sub(form, word)
    return word


if __name__ == "__main__":
    sys.exit(main())
