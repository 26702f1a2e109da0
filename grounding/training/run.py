"""A whole training: captions to tags, teachers, epochs, and the classifier in its folder."""

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from grounding.config import load
from grounding.errors import GroundingError
from grounding.evaluation.processes import from_rank_0
from grounding.tagging.classifier import Preprocessing, TagClassifier, resize_to_square
from grounding.tagging.network import TagNetwork
from grounding.tagging.sources import load_classifier
from grounding.training.batches import Pictures
from grounding.training.captions import Captioned, read_captions
from grounding.training.config import TrainConfig
from grounding.training.dense import write_teacher_scores
from grounding.training.logs import Log, open_log
from grounding.training.networks import check_tags, create_network, start_from
from grounding.training.output import Output
from grounding.training.trainer import LOSSES, Process, Trainer
from grounding.training.validation import PROTOCOLS, Validation

Say = Callable[[str], None]
_COLUMNS: Final = (
    *("epoch", "step", "loss", *LOSSES, "learning_rate", "pictures_per_s"),
    *(protocol.name for protocol in PROTOCOLS),
)
_FOR_STATISTICS: Final = 256  # pictures from which batch normalisation takes its own where `initial` has none


def train(config: TrainConfig, process: Process, say: Say, students: Sequence[Path] = ()) -> Path:
    """Do what has not been done yet in `config.output`. What can be wrong is looked at before what takes long.

    Args:
        process: this one; each of several must call this.
        say: told what a person should know, a line at a time.
        students: the outputs of the trainings that need this one first.

    Returns:
        The folder of the trained classifier.

    Raises:
        GroundingError: bad input of any kind, or an output that is another training's or cannot be written.
    """
    output = Output(config, process.count)
    place = output.folder.resolve()
    if place in students:
        raise GroundingError(
            f"output {output.folder} is that of a training and of one that it needs first: choose another for one"
        )
    output.check()
    finished, begun = from_rank_0((output.classifier.is_dir(), output.checkpoint.is_file()))
    if finished:
        say(f"{output.classifier} is there already")
        return output.classifier
    leads = process.rank == 0
    log = open_log(config.log, output.folder, _COLUMNS) if leads else None
    validation = Validation(config.validation) if leads and config.validation.images else None
    data = read_captions(config)
    say(data.summary)
    torch.manual_seed(config.seed)
    network = create_network(config.network, len(data.tags))
    others = (*students, place)
    initial = None
    if config.network.initial:
        initial = _trained(config.network.initial, "network.initial", data, process, say, others)
    if validation:
        say(validation.summary)
        validation.measure(_classifier(network, data, config), config.device, limit=1)  # what cannot work fails now

    teachers = [_trained(name, "teacher", data, process, say, others) for name in config.teacher.classifiers]
    if leads:
        output.claim(data.fingerprint, [teacher.fingerprint() for teacher in teachers])
    with tqdm(total=len(data.images), desc="reading", unit=" pictures", disable=not leads, leave=False) as bar:
        pictures = Pictures(data.images, config.data.kept_size_px, bar.update)
    if pictures.unreadable:
        say(replaced_line(pictures.unreadable, pictures))
    scores = _teacher_scores(config, output.scores, data, teachers, pictures, process)
    if not begun:
        with torch.no_grad():
            network.head.bias.copy_(torch.logit(data.shares, eps=1e-4))
        if initial:
            first = range(min(_FOR_STATISTICS, len(pictures)))
            images = torch.cat([resize_to_square(pictures[index][None], config.image_size_px) for index in first])
            start_from(network, initial, data.tags, images)
    trainer = Trainer(config, network, pictures, data.targets, scores, process)
    if begun:
        trainer.resume(output.checkpoint)
        say(f"going on after epoch {trainer.epoch} of {config.epochs}")
    _run_epochs(trainer, data, output, log, validation, say)
    if leads:
        _classifier(trainer.learnt, data, config).save_pretrained(output.classifier)
    return from_rank_0(output.classifier)


def _run_epochs(
    trainer: Trainer, data: Captioned, output: Output, log: Log | None, validation: Validation | None, say: Say
) -> None:
    """Every epoch that is left; rank 0 has a log and writes."""
    config, steps = trainer.config, trainer.steps_per_epoch
    pictures = config.batch_size * config.accumulate * trainer.process.count  # a step
    if log:
        log.begin(trainer.epoch)
    with tqdm(
        total=config.epochs * steps * pictures,
        initial=trainer.step * pictures,
        unit=" pictures",
        mininterval=1.0,
        disable=not log,
    ) as bar:
        shown: dict[str, str] = {}

        def progress(loss: float | None) -> None:
            if loss is not None:
                bar.set_postfix({"loss": f"{loss:.3f}"} | shown, refresh=False)
            bar.update(pictures)

        while trainer.epoch < config.epochs:
            bar.set_description(f"epoch {trainer.epoch + 1} of {config.epochs}")
            start = time.perf_counter()
            result = trainer.run_epoch(progress)
            row = {"epoch": trainer.epoch, "step": trainer.step, "loss": result.loss, **result.parts}
            row["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
            row["pictures_per_s"] = steps * pictures / (time.perf_counter() - start)
            if unknown := set(result.replaced) - trainer.pictures.unreadable.keys():
                say(f"epoch {trainer.epoch}: " + replaced_line(unknown, trainer.pictures))
            if validation and (trainer.epoch % config.validation.every == 0 or trainer.epoch == config.epochs):
                measured = validation.measure(_classifier(trainer.learnt, data, config), str(trainer.process.device))
                shown |= {name: f"{value:.1f}" for name, value in measured.items()}
                say(f"epoch {trainer.epoch}: " + ", ".join(f"{name} {value}" for name, value in shown.items()))
                row |= measured
            if log:
                log.write(row)
                trainer.save(output.checkpoint)


def _trained(
    name: str, role: str, data: Captioned, process: Process, say: Say, students: Sequence[Path]
) -> TagClassifier:
    """The classifier of this name; where that is a YAML file, what it trains, trained if need be."""
    source: str | Path = name
    if Path(name).suffix in (".yaml", ".yml"):
        say(f"{role} {name}:")
        source = train(load(TrainConfig, Path(name)), process, say, students)
    classifier = load_classifier(source)
    check_tags(classifier, data.tags, role)
    return classifier


def _teacher_scores(
    config: TrainConfig,
    path: Path,
    data: Captioned,
    teachers: Sequence[TagClassifier],
    pictures: Pictures,
    process: Process,
) -> npt.NDArray[np.uint8] | None:
    """(N, T, h, w) on disk, written where they are not yet; None without teachers."""
    if not teachers:
        return None
    if process.rank == 0 and not path.is_file():
        for teacher in teachers:
            teacher.network.to(process.device)
        with tqdm(total=len(pictures), desc="teacher scores", unit=" pictures") as bar:

            def progress(done: int, total: int) -> None:
                bar.update(done - bar.n)

            write_teacher_scores(teachers, data.tags, pictures, config.teacher.sizes_px, path, progress)
    scores: npt.NDArray[np.uint8] = np.load(from_rank_0(path), mmap_mode="r")
    return scores


def _classifier(network: TagNetwork, data: Captioned, config: TrainConfig) -> TagClassifier:
    preprocessing = Preprocessing(config.shown_size_px, network.mean, network.std)
    return TagClassifier(network.folded().cpu(), data.tags, preprocessing, "trained", map_layer=config.map_layer)


def replaced_line(unreadable: Collection[int], pictures: Pictures) -> str:
    """One line for people about pictures that could not be read."""
    first = min(unreadable)
    try:
        pictures.images.read(first)
        reason = f"{pictures.images.ids[first]}, which can be read now"
    except GroundingError as error:
        reason = str(error)
    return f"{len(unreadable):,} pictures could not be read, and the next ones were seen instead: {reason}"
