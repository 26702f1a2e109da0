import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from grounding.errors import GroundingError
from grounding.web.options import check_extra
from grounding.web.server import serve

SERVED = """
import sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from grounding.commands import exit_status
from grounding.web.guard import Guard
from grounding.web.server import serve

async def hello(request):
    return PlainTextResponse("hello")

def command():
    serve(Guard(Starlette(routes=[Route("/", hello)])), "page", None, int(sys.argv[1]), False)
    return 0

sys.exit(exit_status(command, "all is saved"))
"""


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_next_free_port_is_taken_and_a_signal_ends_it(taken, number, status):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", SERVED, str(taken)]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            port = int(re.fullmatch(r"page: http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line).group(1))
            assert taken < port < taken + 20
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert answer.read() == b"hello"
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == status
    assert err in ("interrupted: all is saved\n", "terminated: all is saved\n")


@pytest.mark.parametrize("port", [-1, 65536, None])
def test_a_port_that_cannot_be_used_is_one_line(taken, port):
    with pytest.raises(GroundingError, match=r"^(--port is|port \d+ of 127.0.0.1 cannot be listened on)"):
        serve(None, "page", taken if port is None else port, 1, False)


def test_a_missing_extra_is_named():
    check_extra("the page", "demo", "json")
    with pytest.raises(GroundingError, match=r"^the page needs no_such_module: pip install 'grounding\[demo\]'$"):
        check_extra("the page", "demo", "json", "no_such_module")
