"""A localizer run over photographs: one line of predictions a photograph, in order, by one process or by several."""

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from grounding.boxes import Boxes, enclosing, iou
from grounding.config import LocalizerConfig
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.errors import GroundingError
from grounding.evaluation.prediction import Key, Map, Prediction
from grounding.evaluation.records import prediction_from_json, prediction_to_json
from grounding.evaluation.scoring import Selection

if TYPE_CHECKING:
    from grounding.pipeline import Scene
    from grounding.results import GroundedPhrase

_STORED_MAP_SIDE = 32  # cells; maps are smooth on this scale
TOP_K = 10


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a process needs to predict."""

    photographs: tuple[Path, ...]
    classifier: str
    config: LocalizerConfig
    device: str


class Predictor:
    """A localizer and the photographs it looks at."""

    def __init__(self, job: Job) -> None:
        from grounding.pipeline import Localizer

        self.photographs = Photographs(job.photographs)
        self.localizer: Localizer = Localizer.from_pretrained(job.classifier, job.config, job.device)

    def line(self, image: EntityImage) -> str:
        """JSON: the predictions for every phrase with a box; or, for a photograph that cannot be read, the error."""
        from grounding.images import read_image

        record: dict[str, Any] = {"image": image.id}
        try:
            content = self.photographs.read(image.id)
            scene = self.localizer.encode(read_image(io.BytesIO(content), f"{image.id}.jpg"))
        except GroundingError as error:
            return json.dumps(record | {"error": str(error)})
        height, width = scene.image.shape[:2]
        record |= {"sha256": hashlib.sha256(content).hexdigest(), "width": width, "height": height}
        return json.dumps(record | {"predictions": predict(scene, image)})


def predict(scene: "Scene", image: EntityImage) -> list[dict[str, Any]]:
    """The prediction of every phrase with a box, as JSON values, in px of the original photograph."""
    phrases = image.boxed_phrases
    texts = list(dict.fromkeys(phrase.text for phrase in phrases))  # a text is found the same in every caption
    if not texts:
        return []
    found = dict(zip(texts, scene.ground(", ".join(texts), texts, TOP_K), strict=True))
    height, width = scene.image.shape[:2]
    scale = np.array([image.width / width, image.height / height] * 2)
    reached = _reached(scene.proposals * scale, image)
    return [_record(image, phrase, found[phrase.text], scale, reached[phrase.chain]) for phrase in phrases]


def _reached(proposals: Boxes, image: EntityImage) -> dict[str, tuple[float, float]]:
    """For each chain the best IoU of any proposal with one of its boxes, and with the box that encloses them."""
    reached = {}
    for chain, boxes in image.boxes.items():
        best = iou(proposals, np.concatenate([boxes, enclosing(boxes)])).max(0, initial=0)  # (M + 1,)
        reached[chain] = float(best[:-1].max()), float(best[-1])
    return reached


def _record(
    image: EntityImage,
    phrase: EntityPhrase,
    found: "GroundedPhrase",
    scale: np.ndarray[Any, np.dtype[np.float64]],
    reached: tuple[float, float],
) -> dict[str, Any]:
    prediction = Prediction(
        boxes=np.array([region.box for region in found.regions]).reshape(-1, 4) * scale,
        scores=np.array([region.score for region in found.regions]),
        point=None if found.point is None else (found.point[0] * scale[0], found.point[1] * scale[1]),
        map=_small(found.grid_map),
        point_map=_small(found.point_map),
        status=found.status,
        proposal_iou=reached,
    )
    return prediction_to_json((image.id, phrase.sentence, phrase.index), prediction)


def _small(map_: Map) -> Map:
    side = min(_STORED_MAP_SIDE, *map_.shape)
    return np.asarray(Image.fromarray(map_).resize((side, side), Image.Resampling.BOX))


def collect(lines: Sequence[str], selection: Selection) -> tuple[Selection, dict[Key, Prediction], list[str]]:
    """All predictions of finished lines, the selection without unreadable photographs, and what a person should know.

    Args:
        lines: of `Predictor.line`, one for each image of the selection, in order.
    """
    predictions: dict[Key, Prediction] = {}
    failed: dict[str, str] = {}
    resized: list[str] = []
    digest = hashlib.sha256()
    images = []
    for line, image in zip(lines, selection.images, strict=True):
        record = json.loads(line)
        if "error" in record:
            failed[image.id] = record["error"]
            continue
        images.append(image)
        digest.update(record["sha256"].encode())
        predictions |= map(prediction_from_json, record["predictions"])
        if (record["width"], record["height"]) != (image.width, image.height):
            sizes = f"{record['width']} x {record['height']} px for {image.width} x {image.height}"
            resized.append(f"{image.id}: {sizes}")
    if not images:
        raise GroundingError(
            f"none of the {len(failed)} photographs can be read, such as: {next(iter(failed.values()))}"
        )
    notes = []
    if resized:
        notes.append(
            f"{len(resized):,} of {len(images):,} photographs are not of the size in their XML file "
            f"(such as {resized[0]}): boxes and points are scaled"
        )
    seen = replace(selection, images=images, failed=failed, photographs=digest.hexdigest())
    return seen, predictions, notes


def world() -> tuple[int, int]:
    """(rank, number of processes) as torchrun says, (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def share(done: int | None) -> int:
    """How many images are done, as rank 0 says; the other ranks pass None and are told."""
    if world()[1] == 1:
        return done or 0
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    told = [done]
    distributed.broadcast_object_list(told)
    return told[0] or 0


def lines_in_order(job: Job, images: Sequence[EntityImage], workers: int) -> Iterator[str]:
    """`Predictor.line` of each image, in order; by this process, by `workers` others, or shared among torchrun's ranks.

    Under torchrun only rank 0 yields lines; the others work along.
    """
    if world()[1] > 1:
        yield from _torchrun_lines(job, images)
    elif workers > 1:
        yield from _worker_lines(job, images, workers)
    else:
        yield from map(Predictor(job).line, images)


_predictor: Predictor  # of a worker process


@contextlib.contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes that start in it never get one: their parent ends them."""
    arrived: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    if posix := hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit this, but no handler
    try:
        yield
    finally:
        if posix:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, handler)
    if arrived:
        raise KeyboardInterrupt


def _start_worker(job: Job, threads: int) -> None:
    import torch

    global _predictor
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _predictor = Predictor(job)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(image: EntityImage) -> str:
    return _predictor.line(image)


def _worker_lines(job: Job, images: Sequence[EntityImage], workers: int) -> Iterator[str]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (job, threads))
    try:
        with _interrupts_waiting():
            lines = pool.map(_work, images)
        yield from lines
    except BrokenProcessPool as error:
        raise GroundingError(
            "a worker process ended without a word (out of memory?): run the same command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _torchrun_lines(job: Job, images: Sequence[EntityImage]) -> Iterator[str]:
    from torch import distributed

    rank, size = world()
    predictor = Predictor(job)
    for first in range(0, len(images), size):
        group = images[first : first + size]
        line = predictor.line(group[rank]) if rank < len(group) else ""
        gathered = [""] * size if rank == 0 else None
        distributed.gather_object(line, gathered)
        if gathered is not None:
            yield from gathered[: len(group)]
