"""From the start of the page to its end."""

import time
from pathlib import Path

import pytest


@pytest.mark.slow
def test_uploads_are_deleted_after_a_while_and_everything_at_the_end(start_page, bench, tmp_path):
    with start_page(tmp_path, "--keep", "1", "--set", "maps.stride=8", "--method", "mwp") as page:
        caller = bench.Caller(page.address)
        path = Path(caller.upload(bench.picture_of(0)))
        assert path.is_file()
        deadline = time.monotonic() + 30
        while path.is_file() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not path.is_file()
        assert "no longer here" in caller.ask(str(path), "a dog")
        (folder,) = page.folder.glob("grounding-demo-*")
        assert 'class="sentence"' in caller.ask(str(folder / "example-1.jpg"), "a man")
        caller.close()
    assert page.process.returncode == 130
    assert page.log.read_text() == "interrupted\n"
    assert list(page.folder.glob("grounding-demo-*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stderr.txt", "temporary"]
