"""The drafts and the decisions of the log, against a slow replay that is written another way."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.annotation.decisions import ACTIONS
from grounding.annotation.history import History
from grounding.annotation.project import LOG, Project, StaleVersion, read_history
from grounding.appended import read_lines
from grounding.errors import GroundingError
from helpers.annotation import LABELS, PICTURES, annotation_folder, full_disk

PEOPLE = ("ann", "bob")
edge = st.floats(-20, 140, allow_nan=False)
decisions = st.fixed_dictionaries(
    {
        "person": st.sampled_from(PEOPLE),
        "picture": st.integers(0, 2),
        "action": st.sampled_from([*ACTIONS, "undo", "kill"]),
        "box": st.integers(0, 3),
        "label": st.sampled_from(["man", "hat", "dog", "Kätzchen <b>"]),
        **dict.fromkeys(("x0", "y0", "x1", "y1"), edge),
        "time_s": st.floats(0, 100),
        "actions": st.integers(0, 9),
    }
)


def slow(lines):
    """What is decided, from the lines that were not taken back, one picture after another."""
    undone = {line["undoes"] for line in lines if line["action"] == "undo"}
    found = {}
    for picture in PICTURES:
        state = "open"
        boxes = [{"label": name, "edges": [*e], "score": s, "state": "open"} for name, e, s in picture.boxes]
        for number, line in enumerate(lines):
            if line["picture"] != picture.id or number in undone or line["action"] == "undo":
                continue
            action = line["action"]
            if action in ("skip", "reopen", "done"):
                state = {"skip": "skipped", "reopen": "open", "done": "done"}[action]
                for box in boxes:
                    if action == "done" and box["state"] == "open":
                        box["state"] = "accepted"
                continue
            state = "open" if state == "skipped" else state
            if action == "draw":
                boxes.append({"score": None})
                line = {**line, "box": len(boxes) - 1}
            box = boxes[line["box"]]
            box["state"] = "rejected" if action == "reject" else "accepted"
            if action in ("move", "draw"):
                box["edges"] = [line[name] for name in ("x0", "y0", "x1", "y1")]
            if action in ("relabel", "draw"):
                box["label"] = line["label"]
        found[picture.id] = state, boxes
    return found


def told(history):
    found = {}
    for id_ in history.pictures:
        annotated = history.now(id_)
        boxes = [
            {"label": b.label, "edges": list(b.edges), "score": b.score, "state": b.state} for b in annotated.boxes
        ]
        found[id_] = annotated.state, boxes
    return found


def everything(history):
    """All that can be asked, for equality before a kill and after it."""
    versions = [history.version(id_) for id_ in history.pictures]
    work = [history.work(id_) for id_ in history.pictures]
    return told(history), versions, work, history.labels, history.count, [undoable(history, who) for who in PEOPLE]


def undoable(history, person):
    try:
        return history.last_of(person)
    except GroundingError as error:
        return str(error)


def test_without_a_decision_all_is_as_drafted(tmp_path):
    assert told(read_history(annotation_folder(tmp_path))) == slow([])


@pytest.mark.slow
@settings(max_examples=60)
@given(steps=st.lists(decisions, max_size=25), cut=st.integers(1, 30))
def test_any_decisions_and_kills_leave_what_a_slow_replay_says(tmp_path_factory, steps, cut):
    folder = annotation_folder(tmp_path_factory.mktemp("any"))
    project = Project.open(folder)
    try:
        for step in steps:
            before = everything(project.history)
            if step["action"] == "kill":
                project.close()  # what a kill leaves: a file with whole lines, and maybe a part of one
                with (folder / LOG).open("ab") as file:
                    file.write(b'{"n": 7, "person": "ann", "picture"'[:cut])
                project = Project.open(folder)
                assert everything(project.history) == before
                continue
            try:
                if step["action"] == "undo":
                    project.undo(step)
                else:
                    project.decide({**step, "version": project.history.version(step["picture"])})
            except GroundingError:
                assert everything(project.history) == before
            lines = read_lines(folder / LOG)[0]
            assert [line["n"] for line in lines] == list(range(len(lines)))
            assert told(project.history) == slow(lines)
        assert everything(read_history(folder)) == everything(project.history)
    finally:
        project.close()


@pytest.mark.slow
@settings(max_examples=40)
@given(steps=st.lists(decisions.filter(lambda step: step["action"] not in ("undo", "kill")), max_size=12))
def test_undo_restores_exactly_step_by_step(tmp_path_factory, steps):
    folder = annotation_folder(tmp_path_factory.mktemp("undo"))
    with Project.open(folder) as project:
        states = []
        for step in steps:
            before = told(project.history)
            try:
                project.decide({**step, "person": "ann", "version": project.history.version(step["picture"])})
            except GroundingError:
                continue
            states.append((before, step["picture"]))
        while states:
            before, picture = states.pop()
            version = project.history.version(picture)
            answer = project.undo({"person": "ann"})
            assert answer == project.picture(picture)
            assert answer["version"] == version + 1  # never one that a page has seen
            assert told(project.history) == before
        assert project.undo({"person": "ann"}) is None
        assert told(project.history) == slow([])


def test_a_person_takes_back_only_what_is_theirs_and_last(tmp_path):
    with Project.open(annotation_folder(tmp_path)) as project:

        def decide(person, picture, action, **more):
            version = project.history.version(picture)
            return project.decide({"person": person, "picture": picture, "version": version, "action": action, **more})

        decide("ann", 0, "accept", box=0)
        decide("bob", 2, "skip")
        assert project.undo({"person": "cy"}) is None
        assert project.undo({"person": "ann"})["boxes"][0]["state"] == "open"
        assert project.picture(2)["state"] == "skipped"
        decide("ann", 0, "draw", label="dog", x0=1, y0=1, x1=9, y1=9)
        decide("bob", 0, "relabel", box=2, label="cat")
        with pytest.raises(GroundingError, match=r"somebody else has changed a\.jpg since"):
            project.undo({"person": "ann"})
        assert project.undo({"person": "bob"})["boxes"][2]["label"] == "dog"
        assert len(project.undo({"person": "ann"})["boxes"]) == 2


def test_what_cannot_be_written_does_not_count(tmp_path):
    folder = annotation_folder(tmp_path)
    with Project.open(folder) as project:
        decision = {"person": "ann", "picture": 0, "version": 0, "action": "accept", "box": 0}
        project.decide(decision)
        before = everything(project.history)
        with full_disk(folder / LOG, 20):
            with pytest.raises(GroundingError, match="cannot be written"):
                project.decide({**decision, "version": 1, "action": "reject"})
            with pytest.raises(GroundingError, match="cannot be written"):
                project.undo(decision)
        assert everything(project.history) == before
        assert everything(read_history(folder)) == before
        project.undo(decision)
    assert told(read_history(folder)) == slow([])


def test_who_decides_about_a_picture_that_has_changed_is_told(tmp_path):
    with Project.open(annotation_folder(tmp_path)) as project:
        decision = {"person": "ann", "picture": 0, "version": 0, "action": "accept", "box": 0}
        project.decide(decision)
        with pytest.raises(StaleVersion) as refused:
            project.decide(decision)
        assert refused.value.picture == 0
        assert project.history.count == 1


def line(number, **values):
    return {"n": number, "person": "ann", "picture": 0, "action": "skip", "time_s": 0, "actions": 0, **values}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([line(1)], "line 1 is damaged (its number is 1: expected 0)"),
        ([line(0), line(0)], "line 2 is damaged (its number is 0: expected 1)"),
        ([line(0, picture=3)], "line 1 is damaged (there is no picture 3)"),
        ([line(0), line(1, action="accept", box=5)], "line 2 is damaged (picture 0 has no box 5"),
        ([line(0), line(1, action="undo", undoes=0, person="bob")], "line 2 is damaged (it takes back what was not"),
        ([line(0), line(1, action="undo", undoes=0, picture=1)], "line 2 is damaged (it takes back what was not"),
        ([line(0, action="format c:")], "line 1 is damaged (action is 'format c:'"),
    ],
)
def test_a_log_that_does_not_follow_is_refused_with_its_line(tmp_path, lines, why):
    folder = annotation_folder(tmp_path)
    content = "".join(json.dumps(each) + "\n" for each in lines)
    (folder / LOG).write_text(content)
    with pytest.raises(GroundingError) as refused:
        Project.open(folder)
    assert why in str(refused.value)
    assert (folder / LOG).read_text() == content


def test_new_labels_come_behind_the_others_and_stay():
    history = History(PICTURES, LABELS)
    for label in ("dog", "man", "dog", "axe"):
        decision = {"person": "ann", "picture": 0, "action": "relabel", "box": 0, "label": label}
        history.add(history.check(decision))
    history.undo("ann", 0, 0)
    assert history.labels == ["man", "hat", "dog", "axe"]
