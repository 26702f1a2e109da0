"""`python -m grounding.train CONFIG [key=value ...]`: train the embedded tag classifier from captions."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grounding.commands import Parser, exit_status
from grounding.config import TrainConfig, load
from grounding.errors import GroundingError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(
        prog="python -m grounding.train",
        description="Train a tag classifier from captions: a teacher learns the words and teaches them to a network "
        "of random weights. Run the same command again to continue after an interruption.",
    )
    parser.add_argument("config", type=Path, help="a YAML file, for example configs/embedded.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example student.epochs=3")
    options = parser.parse_args(arguments)
    return exit_status(
        lambda: _train(options), "interrupted: run the same command again to continue from the last epoch"
    )


def _train(options: argparse.Namespace) -> int:
    try:
        classifier = train(load(TrainConfig, options.config, options.overrides))
    except OSError as error:
        raise GroundingError(str(error)) from error
    print(f"classifier written to {classifier}")
    return 0


def _check_same_run(config: TrainConfig, path: Path) -> None:
    """Refuse to continue in the folder of a run with other pictures, tags, teacher or layers."""
    student = {key: getattr(config.student, key) for key in ("channels", "strides")}
    values = {"seed": config.seed, "tags": config.tags, "student": student}
    values |= {"data": dataclasses.asdict(config.data), "teacher": dataclasses.asdict(config.teacher)}
    wanted = json.loads(json.dumps(values))
    if not path.is_file():
        path.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    given = json.loads(path.read_text(encoding="utf-8"))
    different = [key for key in wanted if given.get(key) != wanted[key]]
    if different:
        raise GroundingError(f"{path.parent} holds a run with another '{different[0]}': choose another output")


def train(config: TrainConfig) -> Path:
    """Run every stage that has not been done yet in `config.output`; returns the folder of the classifier."""
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
    from tqdm import tqdm

    from grounding.datasets.webimages import read_shards
    from grounding.tagging.classifier import Preprocessing, TagClassifier
    from grounding.tagging.network import TagNetwork
    from grounding.tagging.sources import load_classifier
    from grounding.text.tags import build_tags, tag_targets
    from grounding.text.tokens import stem
    from grounding.training import teacher as teaching
    from grounding.training.student import StudentTraining

    output = Path(config.output)
    torch.manual_seed(config.seed)

    size = config.data.image_size_px
    samples = tqdm(read_shards([Path(shard) for shard in config.data.shards]), "reading", unit=" images")
    read = [(np.asarray(sample.image.resize((size, size))), sample.captions) for sample in samples]
    if not read:
        raise GroundingError("no captioned image was read: expected at least one shard under data.shards")
    images = torch.from_numpy(np.stack([image for image, _ in read])).permute(0, 3, 1, 2).contiguous()
    captions = [captions for _, captions in read]
    tags = build_tags((caption for group in captions for caption in group), config.tags)
    output.mkdir(parents=True, exist_ok=True)
    _check_same_run(config, output / "config.json")
    tag_of_stem = {stem(tag): index for index, tag in enumerate(tags)}
    targets = torch.zeros(len(images), len(tags))
    for row, group in enumerate(captions):
        for tag, target in tag_targets(group, tag_of_stem):
            targets[row, tag] = target

    bars: dict[str, tqdm[Any]] = {}

    def progress(stage: str, done: int, total: int, loss: float) -> None:
        if stage not in bars:
            bars[stage] = tqdm(total=total, desc=stage, unit=" steps", mininterval=5.0)
        bar = bars[stage]
        if loss:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bars.pop(stage).close()

    dense_scores, teacher_weights = output / "teacher_scores.npy", output / "teacher.safetensors"
    if not dense_scores.is_file():
        teacher = teaching.WordTeacher(config.teacher, targets.mean(0))
        features = teaching.trunk_features(teacher, images, config.teacher.image_size_px, progress)
        if teacher_weights.is_file():
            teacher.load_state_dict(load_file(teacher_weights))
        else:
            teaching.finetune(teacher, features, targets, config.teacher, progress)
            partial = teacher_weights.with_suffix(".partial")
            save_file(teacher.state_dict(), partial)
            partial.replace(teacher_weights)
        teaching.write_dense_scores(teacher, features, dense_scores, progress)
        del features, teacher

    scores = np.load(dense_scores, mmap_mode="r")
    checkpoint, log = output / "student.safetensors", output / "log.csv"
    initial: TagNetwork | None = None
    if config.student.initial_classifier and not checkpoint.is_file():
        classifier = load_classifier(config.student.initial_classifier)
        if list(classifier.tags) != tags or not isinstance(classifier.network, TagNetwork):
            raise GroundingError(f"student.initial_classifier {classifier.name} has other tags than the captions give")
        initial = classifier.network
    training = StudentTraining(config.student, images, targets, scores, config.seed, initial)
    if checkpoint.is_file():
        training.resume(checkpoint)
    while training.epoch < config.student.epochs:
        loss = training.run_epoch(progress)
        training.save(checkpoint)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{training.epoch},{loss:.4f}\n")
    folder = output / "classifier"
    network, preprocessing = training.network.eval().folded(), Preprocessing(config.shown_size_px)
    TagClassifier(network, tags, preprocessing, "trained", map_layer=config.map_layer).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
