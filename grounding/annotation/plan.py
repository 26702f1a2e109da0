"""What is to be drafted, from the options of a command line, and how it is: one picture after another, resumable."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grounding.annotation.decisions import read_label
from grounding.annotation.drafted import Settings
from grounding.annotation.drafting import Drafting, draft_all, unknown_labels
from grounding.annotation.folder import begin, fingerprint, note_weights
from grounding.annotation.pictures import Asked, Say, all_labels, find_pictures, read_asked
from grounding.datasets.columns import TableOptions
from grounding.errors import GroundingError, did_you_mean
from grounding.pipeline import Localizer
from grounding.wording import counted, shortened

_MOST_SHOWN = 10  # labels in a line


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be drafted.

    Attributes:
        images: the folder of the pictures.
        asked: the pictures and what is asked for in each, by id.
        how: boxes are drafted.
        settings: of the annotation folder, without the weights.
    """

    images: Path
    asked: list[Asked]
    how: Drafting
    settings: Settings


def plan(
    images: Path,
    output: Path,
    table: Path | None,
    columns: TableOptions,
    label_column: str,
    labels: Sequence[str],
    how: Drafting,
    localizer: dict[str, Any],
    say: Say,
) -> Plan:
    """Find out what there is to draft.

    Args:
        table: as of `read_asked`.
        columns: as of `read_asked`.
        label_column: as of `read_asked`.
        labels: that are asked for in every picture.
        localizer: plain values that name it.
        say: is told, in a line each, what is left out.

    Raises:
        GroundingError: as `find_pictures`, `read_asked` and `read_label`; `how` has a phrase for a label that is not
            asked for.
    """
    wanted = list(dict.fromkeys(map(read_label, labels)))
    names = find_pictures(images, output, say)
    if table is not None:
        asked = read_asked(images, names, table, columns, label_column, say)
    else:
        asked = [Asked(name, labels=wanted or None) for name in names]
    if strangers := [label for label, _ in how.asked_as if label not in all_labels(asked)]:
        raise GroundingError(
            f"--ask names the label '{strangers[0]}', which no picture has: "
            + did_you_mean(strangers[0], all_labels(asked), "expected LABEL=PHRASE with one of the labels")
        )
    named = {"asked": fingerprint(asked), **dataclasses.asdict(how), **localizer}
    drafting = json.loads(json.dumps(named))  # as it will be read
    known = tuple(all_labels(asked))
    return Plan(images, asked, how, Settings(str(images.resolve()), known, len(asked), drafting))


def draft(
    plan: Plan,
    folder: Path,
    load: Callable[[], Localizer],
    progress: Callable[[Iterator[dict[str, Any]], int, int], Iterator[dict[str, Any]]],
    say: Say,
) -> int:
    """Draft the boxes of all pictures that an earlier call has not done; each is on disk as soon as it is drafted.

    Args:
        load: makes the localizer, where there is still something to do.
        progress: passes lines on, given how many there are already, and in the end.
        say: is told, in a line each, which pictures are left out.

    Returns:
        How many pictures are left out.

    Raises:
        GroundingError: as `begin`; or the disk is full.
    """
    with contextlib.closing(begin(folder, plan.settings)) as lines:
        left_out = sum("error" in line for line in lines.found)
        if (done := len(lines.found)) == len(plan.asked):
            return left_out
        localizer = load()
        note_weights(folder, localizer.classifier.fingerprint(), first=done == 0)
        if unknown := unknown_labels(localizer, plan.settings.labels, plan.how):
            shown = ", ".join(map(shortened, unknown[:_MOST_SHOWN]))
            more = f" and {len(unknown) - _MOST_SHOWN:,} more" if len(unknown) > _MOST_SHOWN else ""
            say(f"{counted(len(unknown), 'label')} to draw by hand, which the classifier does not know: {shown}{more}")
        drafted = draft_all(localizer, plan.images, plan.asked, done, plan.how, torch.get_num_threads())
        with contextlib.closing(drafted):
            for line in progress(drafted, done, len(plan.asked)):
                lines.append(line)
                left_out += "error" in line
                if told := line.get("error") or line.get("note"):
                    say(f"{line['image']}: {told}" if "note" in line else f"left out: {told}")
        return left_out
