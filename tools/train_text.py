"""Train the noun-phrase chunker and the word vectors of `grounding.text` from the Flickr30k Entities sentences.

The same annotations give the same files, byte for byte.
"""

import argparse
import gzip
import json
import random
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix  # type: ignore[import-untyped]
from scipy.sparse.linalg import svds  # type: ignore[import-untyped]
from tqdm import tqdm

from grounding.errors import GroundingError
from grounding.text.phrases import BEGIN, INSIDE, OUTSIDE, WEIGHTS_FILE, Chunker, PhraseTagger
from grounding.text.tokens import is_content_word, stem, tokenize
from grounding.text.vectors import VECTORS_FILE, WordVectors, unit_rows

Sentence = tuple[str, list[tuple[int, int]]]  # a plain caption and the character spans of its phrases

PHRASE = re.compile(r"\[/EN#\d+(?:/[a-z]+)+ ([^\]]*)\]")
ROUNDS = 6  # passes over the train sentences
WEIGHT_STEP = 0.25  # weights are stored as multiples of this
MIN_WEIGHT = 1.05  # features whose largest weight is below this are dropped
WINDOW = 5  # words to the left and to the right
MIN_COUNT = 4  # stems seen less often get no vector
MIN_CONTEXT_COUNT = 20  # words seen less often are no context
DIMENSIONS = 160
CONTEXT_POWER = 0.75  # smooths the context distribution of PPMI (Levy, Goldberg and Dagan 2015)
SINGULAR_POWER = 0.25  # how much the singular values count (the same)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and train; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="ZIP",
        help="Flickr30k Entities as one zip file: Sentences/*.txt, train.txt and val.txt at its root",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "grounding" / "text",
        metavar="DIR",
        help=f"folder for {WEIGHTS_FILE} and {VECTORS_FILE} (default: grounding/text of this checkout)",
    )
    options = parser.parse_args(arguments)
    try:
        train_both(options.annotations, options.output)
    except GroundingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def train_both(annotations: Path, output: Path) -> None:
    """Train on the train sentences, write both files, and print their sizes and the chunker's val scores."""
    if not output.is_dir():
        raise GroundingError(f"no folder {str(output)!r}: make it first, or leave --output out")
    train, val = (read_sentences(annotations, split) for split in ("train", "val"))
    print(f"{len(train):,} train and {len(val):,} val sentences")

    vectors_path = output / VECTORS_FILE
    train_vectors([caption for caption, _ in train]).save(vectors_path)
    print(f"{vectors_path.name}: {vectors_path.stat().st_size:,} bytes")

    tagger = train_tagger(train)
    weights_path = output / WEIGHTS_FILE
    weights = json.dumps(tagger.model.weights, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    weights_path.write_bytes(gzip.compress(weights.encode("utf-8"), mtime=0))
    print(f"{weights_path.name}: {weights_path.stat().st_size:,} bytes, {len(tagger.model.weights):,} features")
    precision, recall, f1 = span_scores(Chunker(tagger), val)
    print(f"exact spans on val: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}")


def read_sentences(annotations: Path, split: str) -> list[Sentence]:
    """The captions of a split and the spans of their bracketed phrases, the non-visual ones among them."""
    try:
        with zipfile.ZipFile(annotations) as archive:
            names = [f"Sentences/{image}.txt" for image in archive.read(f"{split}.txt").decode().split()]
            lines = [line for name in names for line in archive.read(name).decode().splitlines()]
    except OSError as error:
        raise GroundingError(f"cannot read {str(annotations)!r}: {error.strerror}") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise GroundingError(f"{str(annotations)!r} is not the Flickr30k Entities zip expected: {error}") from error
    return [plain_caption(line) for line in lines if line.strip()]


def plain_caption(line: str) -> Sentence:
    """Take the brackets out: 'by [/EN#1/people a man]' is ('by a man', [(3, 8)])."""
    caption, end = "", 0
    spans = []
    for match in PHRASE.finditer(line):
        caption += line[end : match.start()]
        spans.append((len(caption), len(caption) + len(match[1])))
        caption += match[1]
        end = match.end()
    return caption + line[end:], spans


def tag_tokens(sentence: Sentence) -> list[tuple[str, str]]:
    """The tokens of a caption, each with its tag B, I or O."""
    caption, spans = sentence
    tagged = []
    for token in tokenize(caption):
        around = [start for start, end in spans if start <= token.start and token.end <= end]
        tag = (BEGIN if token.start in around else INSIDE) if around else OUTSIDE
        tagged.append((token.text, tag))
    return tagged


def train_tagger(sentences: Sequence[Sentence]) -> PhraseTagger:
    """An averaged perceptron with small weights dropped and the others rounded to multiples of `WEIGHT_STEP`."""
    random.seed(0)  # NLTK shuffles the sentences with the global generator
    tagger = PhraseTagger()
    tagged = [tag_tokens(sentence) for sentence in tqdm(sentences, desc="tagging", disable=None)]
    tagger.train(tagged, nr_iter=ROUNDS)
    tagger.model.weights = {
        feature: {tag: round(weight / WEIGHT_STEP) for tag, weight in weights.items() if abs(weight) > WEIGHT_STEP / 2}
        for feature, weights in tagger.model.weights.items()
        if max(map(abs, weights.values()), default=0.0) >= MIN_WEIGHT
    }
    return tagger


def span_scores(chunker: Chunker, sentences: Sequence[Sentence]) -> tuple[float, float, float]:
    """Precision, recall and F1 of exact spans over all sentences together."""
    right = given = expected = 0
    for caption, spans in sentences:
        predicted = {(phrase.start, phrase.end) for phrase in chunker.phrases(caption)}
        right += len(predicted & set(spans))
        given += len(predicted)
        expected += len(spans)
    return right / given, right / expected, 2 * right / (given + expected)


def train_vectors(captions: Sequence[str]) -> WordVectors:
    """Positive pointwise mutual information of stems with the words around them, reduced by an SVD.

    A context is a word, its side, and whether it is next to the stem or further away, so that words that can replace
    one another come close, more than words that occur together.
    """
    sentences = [[token.text.lower() for token in tokenize(caption)] for caption in captions]
    counts = Counter(stem(word) for words in sentences for word in words if is_content_word(word))
    contexts = Counter(_context(word) for words in sentences for word in words)
    stems = sorted(word for word, count in counts.items() if count >= MIN_COUNT)
    row_of = {word: row for row, word in enumerate(stems)}
    column_of = {
        word: column
        for column, word in enumerate(sorted(word for word, count in contexts.items() if count >= MIN_CONTEXT_COUNT))
    }
    rows, columns = [], []
    for words in tqdm(sentences, desc="counting", disable=None):
        for row, column in _pairs(words, row_of, column_of):
            rows.append(row)
            columns.append(column)
    shape = (len(stems), 4 * len(column_of))
    table = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr().tocoo()
    row_sums = np.asarray(table.sum(axis=1)).ravel()
    shares = np.asarray(table.sum(axis=0)).ravel() ** CONTEXT_POWER
    shares /= shares.sum()
    information = np.log(table.data / (row_sums[table.row] * shares[table.col]))
    kept = information > 0
    ppmi = csr_matrix((information[kept], (table.row[kept], table.col[kept])), shape=shape)
    left, singular, _ = svds(ppmi, k=DIMENSIONS, v0=np.ones(min(shape)))
    return WordVectors(tuple(stems), unit_rows((left * singular**SINGULAR_POWER).astype(np.float32)))


def _context(word: str) -> str:
    """What a word counts as around another: its stem, or itself if it is a stop word."""
    return stem(word) if is_content_word(word) else word


def _pairs(words: Sequence[str], row_of: dict[str, int], column_of: dict[str, int]) -> Iterator[tuple[int, int]]:
    """The (row, column) of each content word with each word around it; four columns a context word."""
    near = [column_of.get(_context(word), -1) for word in words]
    for i, word in enumerate(words):
        if not is_content_word(word) or (row := row_of.get(stem(word), -1)) < 0:
            continue
        for j in range(max(0, i - WINDOW), min(len(words), i + WINDOW + 1)):
            if j != i and near[j] >= 0 and words[j] != word:
                yield row, 4 * near[j] + 2 * (j < i) + (abs(j - i) > 1)


if __name__ == "__main__":
    sys.exit(main())
