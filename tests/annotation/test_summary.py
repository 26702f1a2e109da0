"""What drafting saved, counted by hand."""

from grounding.annotation.project import Project
from grounding.annotation.summary import IDLE_S, Report
from helpers.annotation import annotation_folder


def test_of_nothing_there_are_no_shares():
    told = Report().to_dict()
    shares = ("untouched_share", "corrections_per_picture", "seconds_per_box", "actions_per_box")
    assert [told.pop(name) for name in shares] == [None] * 4
    assert set(told.values()) == {0}
    assert str(Report()) == "0 of 0 pictures done, 0 boxes"


def test_what_is_counted(tmp_path):
    with Project.open(annotation_folder(tmp_path)) as project:

        def decide(picture, action, time_s, actions, **more):
            given = {"person": "ann", "picture": picture, "version": project.history.version(picture)}
            project.decide({**given, "action": action, "time_s": time_s, "actions": actions, **more})

        decide(0, "move", 4, 2, box=0, x0=1, y0=1, x1=50, y1=50)
        decide(0, "relabel", 3, 3, box=0, label="boy")  # one draft, corrected once
        decide(0, "accept", 1, 1, box=1)
        decide(0, "draw", 5, 2, label="dog", x0=1, y0=1, x1=9, y1=9)
        decide(0, "draw", 5, 2, label="cat", x0=1, y0=1, x1=9, y1=9)
        decide(0, "reject", 1, 1, box=3)  # was drawn by mistake: no correction of a draft
        decide(1, "skip", 100, 100)
        decide(2, "reject", 2, 1, box=0)
        project.undo({"person": "ann", "time_s": 0.5, "actions": 1})
        decide(2, "reject", 2, 1, box=0)
        told = project.report().to_dict()
        assert (told["done"], told["boxes"], told["drafts"]) == (0, 0, 0)
        decide(0, "done", 10 * IDLE_S, 1)  # away for ten minutes
        decide(2, "done", 0.5, 1)
        assert project.report() == Report(
            pictures=3,
            done=2,
            skipped=1,
            drafts=3,
            untouched=1,
            corrected=1,
            rejected=1,
            drawn=1,
            boxes=3,
            time_s=4 + 3 + 1 + 5 + 5 + 1 + IDLE_S + 2 + 0.5 + 2 + 0.5,
            actions=2 + 3 + 1 + 2 + 2 + 1 + 1 + 1 + 1 + 1 + 1,
        )
        told = project.report().to_dict()
        assert (told["untouched_share"], told["corrections_per_picture"]) == (0.3333, 1.5)
        assert (told["seconds_per_box"], told["actions_per_box"], told["open"]) == (28, 5.3333, 0)
        assert str(project.report()) == (
            "2 of 3 pictures done, 3 boxes, 1 skipped; 33% of 3 drafts accepted untouched, 1.5 corrections a picture, "
            "28.0 s and 5.3 actions a box"
        )
