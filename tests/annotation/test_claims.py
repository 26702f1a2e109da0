"""Two people get different pictures."""

from grounding.annotation.claims import SECONDS, Claims
from grounding.annotation.project import Project
from helpers.annotation import annotation_folder


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_of_no_pictures_none_is_free():
    assert Claims().first_free("ann", []) is None


def test_a_claim_holds_as_long_as_its_person_shows_signs_of_life():
    clock = Clock()
    claims = Claims(clock)
    assert claims.first_free("ann", [4, 5]) == 4
    assert claims.first_free("ann", [4, 5]) == 4
    assert claims.first_free("bob", [4, 5]) == 5
    assert claims.first_free("cy", [4, 5]) is None
    clock.now = SECONDS - 1
    claims.touch("ann", 4)
    clock.now = SECONDS
    assert claims.first_free("cy", [4, 5]) == 5  # bob is gone
    clock.now = 2 * SECONDS - 2
    claims.touch("bob", 4)  # which is still ann's
    assert claims.first_free("ann", [4, 5]) == 4
    claims.touch("ann", 6)
    assert claims.first_free("bob", [4, 5]) == 4


def test_the_most_unsure_open_pictures_come_first(tmp_path):
    with Project.open(annotation_folder(tmp_path)) as project:
        assert project.order == [1, 2, 0]
        assert [project.next(person) for person in ("ann", "bob", "cy", "di")] == [1, 2, 0, None]
        assert project.next("ann") == 1
        project.decide({"person": "ann", "picture": 1, "version": 0, "action": "done"})
        assert project.next("ann") is None  # the others have the rest
        project.decide({"person": "bob", "picture": 2, "version": 0, "action": "skip"})
        project.claims = Claims(lambda: 0.0)  # as after a restart
        assert [project.next(person) for person in ("bob", "ann")] == [0, None]
