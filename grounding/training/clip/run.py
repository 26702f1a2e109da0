"""The whole training of a CLIP: captions, the teacher's scores, epochs, and the finished model in its folder."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from grounding.devices import usable_device
from grounding.errors import GroundingError
from grounding.folders import whole_file, writing
from grounding.resumable import difference
from grounding.tagging.sources import load_tag_classifier
from grounding.training.batches import Pictures
from grounding.training.clip.config import ClipConfig
from grounding.training.clip.features import write_features
from grounding.training.clip.model import Clip, words_of
from grounding.training.clip.texts import Texts, read_texts
from grounding.training.clip.trainer import LOSSES, ClipTrainer
from grounding.training.distillation import write_teacher_scores
from grounding.training.logs import CsvLog
from grounding.wording import counted

_FREE = ("output", "device")  # may change when a training goes on


def train_clip(config: ClipConfig, say: Callable[[str], None]) -> Path:
    """Train a CLIP, or finish what `config.output` holds of its training; returns the folder of the model.

    Raises:
        GroundingError: bad input of any kind, or an output that is another training's or cannot be written.
    """
    output = Path(config.output).expanduser()
    model, checkpoint = output / "clip", output / "checkpoint.safetensors"
    features, scores = output / "features.npy", output / "teacher_scores.npy"
    usable_device(config.device)
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in _FREE}
    _claim(output, settings)
    if model.is_dir():
        say(f"{model} is there already")
        return model
    options = TableOptions(config.data.image_column, config.data.caption_column, "", config.data.delimiter)
    images = CaptionedImages(config.data.sources, options)
    texts = _texts(config, images)
    say(
        f"{counted(len(images), 'picture')}; {counted(len(texts.tags), 'tag')}, without "
        f"{len(texts.held_out)} that are held out{': ' + ', '.join(texts.held_out[:8]) if texts.held_out else ''}"
    )
    torch.manual_seed(config.seed)
    clip = Clip(config, words_of(caption for captions in images.captions for caption in captions))
    with tqdm(total=len(images), desc="reading", unit=" pictures", leave=False) as bar:
        pictures = Pictures(images, config.data.cache_size_px, bar.update)
    if not scores.is_file():
        _write_scores(config, pictures, scores)
    if not features.is_file():
        write_features(clip, pictures, features)
    kept = [np.load(path, mmap_mode="r", allow_pickle=False) for path in (features, scores)]
    trainer = ClipTrainer(config, clip, kept[0], texts, kept[1])
    if checkpoint.is_file():
        trainer.resume(checkpoint)
        say(f"going on after epoch {trainer.epoch} of {config.epochs}")
    _run_epochs(trainer, checkpoint, CsvLog(output / "log.csv", ("epoch", *LOSSES)))
    clip.model.eval()
    clip.save_pretrained(model)
    with whole_file(output / "held_out.json") as file:
        json.dump(texts.held_out, file)
    return model


def _texts(config: ClipConfig, images: CaptionedImages) -> Texts:
    teacher = load_tag_classifier(config.teacher)
    with tqdm(total=len(images), desc="captions", unit=" pictures", leave=False) as bar:
        return read_texts(teacher.tags, images.captions, config.held_out_every, bar.update)


def _write_scores(config: ClipConfig, pictures: Pictures, path: Path) -> None:
    teacher = load_tag_classifier(config.teacher).to(torch.device(config.device))
    with tqdm(total=len(pictures), desc="teacher scores", unit=" pictures") as bar:
        sizes = [config.teacher_size_px]
        write_teacher_scores([teacher], teacher.tags, pictures, sizes, path, lambda n, _: bar.update(n - bar.n))


def _run_epochs(trainer: ClipTrainer, checkpoint: Path, log: CsvLog) -> None:
    """Run the epochs that are left; log, and save a checkpoint after each."""
    config, steps = trainer.config, trainer.steps_per_epoch
    log.begin(trainer.epoch)
    with tqdm(total=config.epochs * steps, initial=trainer.step, unit=" steps", mininterval=1.0) as bar:

        def progress(means: dict[str, float]) -> None:
            bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()}, refresh=False)
            bar.update()

        while trainer.epoch < config.epochs:
            bar.set_description(f"epoch {trainer.epoch + 1} of {config.epochs}")
            means = trainer.run_epoch(progress)
            log.write({"epoch": trainer.epoch, **means})
            trainer.save(checkpoint)


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Make the folder this training's: write its settings, or compare them with those that are there."""
    file, wanted = output / "config.json", json.loads(json.dumps(settings))
    with writing(f"output {output}"):
        output.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            if names := sorted(path.name for path in output.iterdir() if not path.name.startswith(".")):
                raise GroundingError(f"output {output} holds other things, such as {names[0]}: choose another")
            with whole_file(file) as text:
                text.write(json.dumps(wanted, indent=2) + "\n")
            return
    try:
        begun = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroundingError(f"{file} is broken ({error}): choose another output") from error
    if changed := difference(wanted, begun if isinstance(begun, dict) else {}):
        raise GroundingError(f"output {output} is of a training with another {changed}: choose another output")
