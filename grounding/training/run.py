"""A whole training: captions to tags, teachers, epochs, and the finished classifier in its folder."""

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from grounding.config import load
from grounding.distributed import Process, from_rank_0
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier, resize_to_square
from grounding.tagging.network import TagNetwork
from grounding.tagging.sources import load_tag_classifier
from grounding.training.advice import advice, below_the_centre
from grounding.training.batches import Pictures
from grounding.training.captions import read_captions
from grounding.training.config import TrainConfig
from grounding.training.dgdm import check_drops
from grounding.training.distillation import write_teacher_scores
from grounding.training.features import Features
from grounding.training.human_maps import read_targets
from grounding.training.logs import open_log
from grounding.training.map_layer import past_attention
from grounding.training.networks import check_tags, create_network, following, known_rows, start_from
from grounding.training.new_rows import start_new_rows
from grounding.training.output import Output
from grounding.training.trainer import LOSSES, Trainer
from grounding.training.validation import PROTOCOLS, Validation
from grounding.wording import counted

Say = Callable[[str], None]
_COLUMNS: Final = (
    *("epoch", "step", "loss", *LOSSES, "learning_rate", "pictures_per_s"),
    *(protocol.name for protocol in PROTOCOLS),
)
_FOR_STATISTICS: Final = 256  # pictures from which batch normalisation takes its own where `initial` has none


def train(config: TrainConfig, process: Process, say: Say, students: Sequence[Path] = ()) -> Path:
    """Train a classifier, or finish what `config.output` holds of its training. Input is checked before slow work.

    Args:
        config: of the training, as `config.load` reads it.
        process: this one; each of several must call this.
        say: called with lines for people.
        students: the outputs of the trainings that this one is a part of.

    Returns:
        The folder of the trained classifier.

    Raises:
        GroundingError: bad input of any kind, or an output that is another training's or cannot be written.
    """
    output = Output(config, process.count)
    if output.folder.resolve() in students:
        raise GroundingError(
            f"output {output.folder} is that of a training and of one that it needs first: choose another for one"
        )
    if config.head_only and process.count > 1:
        raise GroundingError(f"head_only learns in one process, not in {process.count}: start it without torchrun")
    output.check()
    finished, begun = from_rank_0((output.classifier.is_dir(), output.checkpoint.is_file()))
    if finished:
        say(f"{output.classifier} is there already")
    else:
        _Training(config, process, say, output, students).run(begun)
    return from_rank_0(output.classifier)


class _Training:
    """The steps of one training, and what they share."""

    def __init__(
        self, config: TrainConfig, process: Process, say: Say, output: Output, students: Sequence[Path]
    ) -> None:
        self.config, self.process, self.say, self.output = config, process, say, output
        self.leads = process.rank == 0  # rank 0 alone writes and validates
        self.students = (*students, output.folder.resolve())
        self.log = open_log(config.log, output.folder, _COLUMNS) if self.leads else None
        self.validation = Validation(config.validation) if self.leads and config.validation.given else None
        self.map_layer = config.map_layer
        self.data = read_captions(config)
        say(self.data.summary)

    def run(self, begun: bool) -> None:
        """Do all steps; a training that has begun continues from its checkpoint."""
        config = self.config
        initial = self.classifier_named(config.network.initial, "network.initial") if config.network.initial else None
        torch.manual_seed(config.seed)
        network = self.create(initial)
        for line in advice(config, initial, self.data):
            self.say(line)
        if self.validation:
            self.say(self.validation.summary)
            self.validation.measure(self.classifier(network), config.device, limit=1)  # what cannot work fails now
        teachers = [self.classifier_named(name, "teacher") for name in config.teacher.classifiers]
        human = read_targets(config.human_maps, self.data.images) if config.human_maps.source else None
        if human:
            self.say(human.summary)
        if self.leads:
            data = self.data.fingerprint + (f", {human.fingerprint}" if human else "")
            self.output.claim(data, [teacher.fingerprint() for teacher in teachers])
        pictures = self.read_pictures()
        scores = self.teacher_scores(teachers, pictures)
        if initial and (config.head_only or not begun):
            self.start_from(network, initial, pictures)
        if config.head_only:
            pictures = self.features(network)
        if not begun:
            self.start_new_rows(network, initial, pictures)
        config = dataclasses.replace(config, map_layer=self.map_layer)
        trainer = Trainer(config, network, pictures, self.data.targets, scores, self.process, human)
        if begun:
            trainer.resume(self.output.checkpoint)
            self.say(f"going on after epoch {trainer.epoch} of {config.epochs}")
        measured = self.run_epochs(trainer)
        if self.leads:
            if self.validation and (warning := below_the_centre(measured, self.validation.centre, config)):
                self.say(warning)
            self.classifier(trainer.learnt).save_pretrained(self.output.classifier)

    def create(self, initial: TagClassifier | None) -> TagNetwork:
        """Create the network, and note where its maps are read."""
        config, keys = self.config, self.config.network
        network = create_network(
            following(keys, initial) if initial else keys, len(self.data.tags), config.head_only, config.gala
        )
        check_drops(config.dgdm, network.backbone, torch.zeros(1, 3, config.image_size_px, config.image_size_px))
        if initial and initial.map_layer is not None and config.map_layer is None:
            alike = cast(TagNetwork, initial.network).gala is not None  # it counts attention among its layers
            layer = initial.map_layer
            self.map_layer = layer if alike else past_attention(layer, network, config.image_size_px)
        return network

    def classifier_named(self, name: str, role: Literal["network.initial", "teacher"]) -> TagClassifier:
        """Load a classifier by name; if it is a YAML file, train that one first unless it is finished."""
        source: str | Path = name
        if Path(name).suffix in (".yaml", ".yml"):
            self.say(f"{role} {name}:")
            source = train(load(TrainConfig, Path(name)), self.process, self.say, self.students)
        classifier = load_tag_classifier(source)
        if role == "teacher":
            check_tags(classifier, self.data.tags, role)
        return classifier

    def classifier(self, network: TagNetwork) -> TagClassifier:
        """Make the classifier that is validated and saved: batch normalisation folded, on the CPU."""
        preprocessing = Preprocessing(self.config.inference_size_px, network.mean, network.std)
        folded = network.folded().cpu()
        return TagClassifier(folded, self.data.tags, preprocessing, "trained", map_layer=self.map_layer)

    def read_pictures(self) -> Pictures:
        """Read all pictures into memory if the configuration says so; for a head alone, each is read once, later."""
        images = self.data.images
        if self.config.head_only:
            return Pictures(images, 0, lambda: None)
        with tqdm(total=len(images), desc="reading", unit=" pictures", disable=not self.leads, leave=False) as bar:
            pictures = Pictures(images, self.config.data.cache_size_px, bar.update)
        if pictures.unreadable:
            self.say(replaced_line(pictures.unreadable, pictures))
        return pictures

    def features(self, network: TagNetwork) -> Features:
        """Make the features that a head alone learns from."""
        images, folder = self.data.images, self.output.folder
        with tqdm(total=len(images), desc="features", unit=" pictures", leave=False) as bar:
            features = Features(images, network, self.config, self.process.device, folder, bar.update)
        if features.unreadable:
            self.say(replaced_line(features.unreadable, features))
        return features

    def teacher_scores(self, teachers: Sequence[TagClassifier], pictures: Pictures) -> npt.NDArray[np.uint8] | None:
        """Open the (N, T, h, w) scores on disk, and write them first if they are missing; None without teachers."""
        path = self.output.scores
        if not teachers:
            return None
        if self.leads and not path.is_file():
            for teacher in teachers:
                teacher.network.to(self.process.device)
            with tqdm(total=len(pictures), desc="teacher scores", unit=" pictures") as bar:
                sizes_px, data = self.config.teacher.sizes_px, self.data
                write_teacher_scores(teachers, data.tags, pictures, sizes_px, path, lambda n, _: bar.update(n - bar.n))
        scores: npt.NDArray[np.uint8] = np.load(from_rank_0(path), mmap_mode="r", allow_pickle=False)
        return scores

    def start_from(self, network: TagNetwork, initial: TagClassifier, pictures: Pictures) -> None:
        """Give the network the backbone of `initial` and the rows that it knows."""
        first = range(1 if self.config.head_only else min(_FOR_STATISTICS, len(pictures)))
        images = torch.cat([resize_to_square(pictures[index][None], self.config.image_size_px) for index in first])
        start_from(network, initial, self.data.tags, images)

    def start_new_rows(self, network: TagNetwork, initial: TagClassifier | None, pictures: Pictures) -> None:
        """Set the rows of the head that `initial` does not know: by how frequent they are, and what they show."""
        known = known_rows(initial.tags, self.data.tags) if initial else {}
        new = [row for row in range(len(self.data.tags)) if row not in known]
        with torch.no_grad():
            network.head.bias[new] = torch.logit(self.data.shares, eps=1e-4)[new]
        if not initial:
            return

        def features_of(index: int) -> Tensor:
            if isinstance(pictures, Features):
                return pictures.whole(index)
            pixels = resize_to_square(pictures[index][None], initial.preprocessing.image_size_px)
            features: Tensor = source.features(initial.preprocessing.normalise(pixels))  # (1, C, h, w)
            return features[0]

        source = cast(TagNetwork, initial.network)
        start_new_rows(network, source, new, self.data.targets, features_of)

    def run_epochs(self, trainer: Trainer) -> dict[str, float]:
        """Run the epochs that are left; validate, log and save a checkpoint after each; returns what was measured."""
        config, steps = self.config, trainer.steps_per_epoch
        step = config.batch_size * config.gradient_accumulation_steps * self.process.count  # pictures
        if self.log:
            self.log.begin(trainer.epoch)
        total, done = config.epochs * steps * step, trainer.step * step
        with tqdm(total=total, initial=done, unit=" pictures", mininterval=1.0, disable=not self.leads) as bar:
            measured: dict[str, float] = {}

            def progress(loss: float | None) -> None:
                if loss is not None:
                    bar.set_postfix({"loss": f"{loss:.3f}"} | _rounded(measured), refresh=False)
                bar.update(step)

            while trainer.epoch < config.epochs:
                bar.set_description(f"epoch {trainer.epoch + 1} of {config.epochs}")
                start = time.perf_counter()
                result = trainer.run_epoch(progress)
                row = {"epoch": trainer.epoch, "step": trainer.step, "loss": result.loss, **result.parts}
                row["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
                row["pictures_per_s"] = steps * step / (time.perf_counter() - start)
                if unknown := set(result.replaced) - trainer.pictures.unreadable.keys():
                    self.say(f"epoch {trainer.epoch}: " + replaced_line(unknown, trainer.pictures))
                if new := self.validate(trainer):
                    measured |= new
                    self.say(f"epoch {trainer.epoch}: " + ", ".join(map(" ".join, _rounded(measured).items())))
                if self.log:
                    self.log.write(row | new)
                    trainer.save(self.output.checkpoint)
        return measured

    def validate(self, trainer: Trainer) -> dict[str, float]:
        """Measure percentages by protocol; empty if this epoch or this process does not validate."""
        if not self.validation or (trainer.epoch % self.config.validation.every and trainer.epoch < self.config.epochs):
            return {}
        return self.validation.measure(self.classifier(trainer.learnt), str(self.process.device))


def _rounded(measured: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in measured.items()}


def replaced_line(unreadable: Collection[int], pictures: Pictures) -> str:
    """Say in one line for people how many pictures could not be read, and why the first could not."""
    first = min(unreadable)
    try:
        pictures.images.read(first)
        reason = f"{pictures.images.ids[first]}, which can be read now"
    except GroundingError as error:
        reason = str(error)
    return f"{counted(len(unreadable), 'picture')} could not be read, and the next seen instead: {reason}"
