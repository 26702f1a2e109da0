"""A hub of its own: a small HTTP server that answers what huggingface_hub asks, from a dictionary of repositories."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass
class FakeHub:
    """Repositories by name, each its files by path; a name in `gated` wants a login. `asked` are the requests."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub):
    """Serve a hub on this machine while the block lasts."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.hub.asked.append(f"{self.command} {self.path}")
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if is_api else parts[:2])
        if name in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        if name not in self.hub.repositories:
            return self._refuse(401, "RepoNotFound")
        files, rest = self.hub.repositories[name], parts[4:] if is_api else parts[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if is_api and rest[:1] == ["tree"]:
            return self._send([self._entry(path, content) for path, content in files.items()])
        if is_api:
            siblings = [{"rfilename": path} for path in files]
            return self._send({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        content = files.get("/".join(rest[2:]))
        if content is None:
            return self._refuse(404, "EntryNotFound")
        etag = hashlib.sha1(content).hexdigest()
        return self._write(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.hub.asked.append(f"{self.command} {self.path}")
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = "/".join(filter(None, (given.get("organization"), given["name"])))
            self.hub.repositories.setdefault(name, {})
            return self._send({"url": f"{self.hub.url}/{name}", "id": name, "name": name})
        if self.path == "/api/validate-yaml":
            return self._send({"errors": [], "warnings": []})
        name = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            given = json.loads(body)["files"]
            return self._send(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in given]}
            )
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.hub.url}/{name}/commit/{COMMIT}"
        return self._send({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def _entry(self, path, content):
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _send(self, value):
        self._write(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status, code):
        self._write(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _write(self, status, content, headers):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
