"""How the page of `python -m grounding.demo` does with many at once: failures, seconds and memory, round by round.

python scripts/bench_demo.py [--clients 8] [--requests 50] [--rounds 4]

It starts the page as a process of its own. Each client uploads a picture of its own once a round and asks about it, as
a browser does.
"""

import argparse
import contextlib
import io
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from grounding.images import sample_scene

CAPTIONS = ("a man in a red hat", "a camera on a tripod", "a black coat, no dog", "grass under a grey sky", "A ZEBRA")
SETTINGS = [1, 6, 0.15, True]


class Caller:
    """One person's browser, without the browser: `ask` uploads a picture, or names one, and waits for the answer."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=120)
        self.session = uuid.uuid4().hex[:12]
        functions = self.http.get("/config").json()["dependencies"]
        self.function = next(each["id"] for each in functions if each["api_name"] == "light")

    def close(self) -> None:
        """Close what is open."""
        self.http.close()

    def upload(self, content: bytes, name: str = "picture.png") -> str:
        """The path that the server gives to a file."""
        answer = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        answer.raise_for_status()
        return answer.json()[0]

    def join(self, data: list) -> httpx.Response:
        """Ask, with the values of the fields as the page sends them."""
        body = {"data": data, "fn_index": self.function, "session_hash": self.session}
        return self.http.post("/gradio_api/queue/join", json=body)

    def ask(self, path: str | None, caption: str, settings: list | None = None) -> str:
        """The HTML of an answer."""
        picture = None if path is None else {"path": path, "meta": {"_type": "gradio.FileData"}}
        joined = self.join([picture, caption, *(settings or SETTINGS)])
        joined.raise_for_status()
        event = joined.json()["event_id"]
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                said = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if said.get("msg") == "process_completed" and said["event_id"] == event:
                    if not said["success"]:
                        raise RuntimeError(str(said["output"]))
                    return said["output"]["data"][0]
        raise RuntimeError("the answer did not come")


def picture_of(number: int) -> bytes:
    """The sample scene as a PNG file, each a little brighter than the one before: another picture."""
    image = sample_scene().astype(np.int16) + number % 40
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def one_round(
    address: str, clients: int, requests: int, start: int = 0, settings: list | None = None
) -> tuple[list[str], list[float]]:
    """Ask so many times from so many clients at once: what failed, and the seconds of each that did not."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(requests):
        waiting.put(number)
    failures, seconds = [], []

    def work(client: int) -> None:
        try:
            caller = stack.enter_context(contextlib.closing(Caller(address)))
            path = caller.upload(picture_of(start + client))
            while True:
                number = waiting.get_nowait()
                caption, before = CAPTIONS[number % len(CAPTIONS)], time.perf_counter()
                if "data-answer" not in caller.ask(path, caption, settings):
                    raise RuntimeError("the answer is no answer")
                seconds.append(time.perf_counter() - before)
        except queue.Empty:
            return
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    with contextlib.ExitStack() as stack:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return failures, seconds


def memory_mib(process: int) -> float:
    """The resident memory of a process, on Linux."""
    (line,) = [each for each in Path(f"/proc/{process}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Start the page, ask it round by round, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    start = time.perf_counter()
    command = [sys.executable, "-m", "grounding.demo", "--port", "0", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        print(f"{address} after {time.perf_counter() - start:.1f} s, {memory_mib(server.pid):.0f} MiB")
        caller, picture = Caller(address), picture_of(39)
        before = time.perf_counter()
        caller.ask(caller.upload(picture), CAPTIONS[0])
        print(f"first answer to a picture of one's own: {time.perf_counter() - before:.2f} s")
        for number in range(1, options.rounds + 1):
            before = time.perf_counter()
            failures, seconds = one_round(address, options.clients, options.requests, number * options.clients)
            wall = time.perf_counter() - before
            median = statistics.median(seconds or [float("nan")])
            print(
                f"round {number}: {len(seconds)} of {options.requests} answered, {len(failures)} failures, "
                f"{wall:.1f} s, median {median:.2f} s, {memory_mib(server.pid):.0f} MiB",
                flush=True,
            )
            for line in failures[:5]:
                print(f"  {line}")
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.wait(30)


if __name__ == "__main__":
    main()
