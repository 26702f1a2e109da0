"""A question about a picture and its answer: everything that the page shows, without any page."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from grounding.answering import min_presence
from grounding.config import METHOD
from grounding.demonstration.depths import depths_of
from grounding.demonstration.scenes import Scenes
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.methods import find_method
from grounding.pipeline import Localizer, Scene
from grounding.results import Grounding

LONGEST: Final = 500  # characters of a sentence
MOST_REGIONS: Final = 5
COMPARED: Final = (METHOD, "mwp", "cam")
_TAGS: Final = 8


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a picture.

    Attributes:
        depth: position of the layer where maps are read, from 1; None is the usual one.
        least: presence below which a phrase is absent; None is the classifier's own.
        compare: whether the other methods make their maps too.
    """

    caption: str
    top_k: int = 1
    depth: int | None = None
    least: float | None = None
    compare: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question.

    Attributes:
        digest: of the picture.
        tags: the most probable, best first.
        compared: by method, what it found, or why it does not work here.
        calibrated: whether presence is a probability.
    """

    digest: str
    question: Question
    grounding: Grounding = field(repr=False)
    tags: tuple[tuple[str, float], ...]
    compared: Mapping[str, Grounding | str] = field(repr=False)
    calibrated: bool


class Demonstration:
    """Answers questions with one localizer, one at a time. Safe for several threads.

    What it keeps are the scenes of the latest pictures; each question gets word maps of its own, so that no question
    makes it grow.
    """

    def __init__(self, localizer: Localizer) -> None:
        self.localizer = localizer
        self.scenes = Scenes(localizer)
        self._lock = threading.Lock()
        self._localizers: dict[tuple[str | None, int], Localizer] = {}
        classifier = localizer.classifier
        self.calibrated = getattr(classifier, "presence_model", None) is not None
        self.least = min_presence(localizer.config, classifier)
        self.depths = depths_of(localizer.encode(sample_scene()).encoding, localizer.config.maps)

    def ask(self, path: Path | None, question: Question) -> Answer:
        """Answer a question about a picture file.

        Raises:
            GroundingError: no picture or none that can be read; no sentence, or a very long one; a setting that there
                is not.
        """
        if path is None:
            raise GroundingError("there is no picture yet: drop one in, paste one, or choose an example")
        self._check(question)
        with self._lock:
            digest, scene = self.scenes.of_file(path)
            return self._answer(digest, scene, question)

    def ask_again(self, digest: str, question: Question) -> Answer:
        """Answer a question about a picture that was asked about before, by its digest.

        Raises:
            GroundingError: as `ask`; the picture is not among the latest.
        """
        self._check(question)
        with self._lock:
            return self._answer(digest, self.scenes.known(digest), question)

    def _check(self, question: Question) -> None:
        length = len(question.caption)
        if not question.caption.strip():
            raise GroundingError("there is no sentence yet: type what to look for, such as “a man in a red hat”")
        if length > LONGEST:
            raise GroundingError(f"the sentence has {length:,} characters: expected at most {LONGEST}, one sentence")
        if not 1 <= question.top_k <= MOST_REGIONS:
            raise GroundingError(f"boxes a phrase are {question.top_k}: expected 1 to {MOST_REGIONS}")
        depths = len(self.depths.maps)
        if question.depth is not None and not 1 <= question.depth <= depths:
            raise GroundingError(f"the depth is {question.depth}: expected 1 to {depths}")

    def _answer(self, digest: str, scene: Scene, question: Question) -> Answer:
        grounding = self._ground(scene, question, None)
        own = self.localizer.method
        compared = {
            name: grounding if find_method(name) is own else self._compared(scene, question, name)
            for name in COMPARED
            if question.compare
        }
        return Answer(digest, question, grounding, tuple(scene.tags(_TAGS)), compared, self.calibrated)

    def _compared(self, scene: Scene, question: Question, method: str) -> Grounding | str:
        try:
            return self._ground(scene, question, method)
        except GroundingError as error:
            return str(error)

    def _ground(self, scene: Scene, question: Question, method: str | None) -> Grounding:
        """Ask a copy of the scene, whose word maps are forgotten with it; the encoding is the same."""
        depth = self.depths.usual if question.depth is None else question.depth - 1
        asked = replace(scene, localizer=self._localizer(method, depth))
        return asked.ground(question.caption, None, question.top_k, question.least)

    def _localizer(self, method: str | None, depth: int) -> Localizer:
        """The localizer with another method, or None for its own, and another layer."""
        if (method, depth) not in self._localizers:
            given = self.localizer
            config = replace(given.config, maps=self.depths.maps[depth])
            used = given.method if method is None else find_method(method)
            self._localizers[method, depth] = Localizer(given.classifier, config, str(given.device), used)
        return self._localizers[method, depth]
