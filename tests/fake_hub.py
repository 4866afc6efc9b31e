"""A Hugging Face Hub on this machine: the parts of its API that publishing and loading a run use, in memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

BIG = 10_000
"""Bytes from which a file is stored beside the repository, as Git LFS does."""


class FakeHub:
    """Repositories of models: a list of commits each, a commit being the files by their paths.

    Attributes:
        repos: commits of each repository, oldest first.
        private: which are private.
        users: who a token belongs to.
        requests: method and path of every request.
        begins: the first byte of each large file that was sent.
        fails: "commit", if the next one is to fail.
        cut: sends only so many bytes of a file, once, and hangs up.
    """

    def __init__(self):
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.users = {"hf_me": "me"}
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.begins: list[int] = []
        self.cut: int | None = None
        self.fails = ""
        self.url = ""
        self.app = Flask("hub")
        self.app.before_request(self._log)
        add = self.app.add_url_rule
        add("/api/repos/create", view_func=self.create, methods=["POST"])
        add("/api/validate-yaml", view_func=self.validate, methods=["POST"])
        add("/api/models/<user>/<name>", view_func=self.info)
        add("/api/models/<user>/<name>/revision/<revision>", view_func=self.info)
        add("/api/models/<user>/<name>/tree/<revision>", view_func=self.tree)
        add("/api/models/<user>/<name>/preupload/<revision>", view_func=self.preupload, methods=["POST"])
        add("/api/models/<user>/<name>/commit/<revision>", view_func=self.commit, methods=["POST"])
        add("/<user>/<name>.git/info/lfs/objects/batch", view_func=self.batch, methods=["POST"])
        add("/stored/<oid>", view_func=self.store, methods=["PUT"])
        add("/<user>/<name>/resolve/<revision>/<path:path>", view_func=self.resolve)

    @contextlib.contextmanager
    def serving(self) -> Iterator[FakeHub]:
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _log(self):
        self.requests.append((request.method, request.path))

    def _user(self):
        return self.users.get(request.headers.get("Authorization", "").removeprefix("Bearer "))

    @staticmethod
    def _error(status, code, said=""):
        answer = jsonify(error=said or code)
        answer.headers["X-Error-Code"], answer.headers["X-Error-Message"] = code, said or code
        return answer, status

    def _commit(self, user, name, revision):
        """A commit and its files, or None and an answer."""
        repo = f"{user}/{name}"
        if repo not in self.repos or (repo in self.private and self._user() != user):
            return None, self._error(401 if self._user() is None else 404, "RepoNotFound", "Repository not found")
        ids = [f"{number:040x}" for number in range(1, len(self.repos[repo]) + 1)]
        wanted = ids[-1] if revision == "main" else revision
        if wanted not in ids:
            return None, self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return wanted, self.repos[repo][ids.index(wanted)]

    def create(self):
        if self._user() is None:
            return self._error(401, "Unauthorized", "Invalid credentials in Authorization header")
        repo = f"{request.json['organization']}/{request.json['name']}"
        if request.json["organization"] != self._user():
            return self._error(403, "Forbidden", "You don't have the rights to create a model under this namespace")
        if repo in self.repos:
            return jsonify(error="You already created this model repo", url=f"{self.url}/{repo}"), 409
        self.repos[repo] = [{".gitattributes": b"*.safetensors filter=lfs\n"}]
        if request.json.get("visibility") == "private" or request.json.get("private"):
            self.private.add(repo)
        return jsonify(url=f"{self.url}/{repo}", name=repo)

    def validate(self):
        front = request.json["content"].split("---")
        if len(front) < 3:
            return jsonify(errors=[{"message": "no metadata"}], warnings=[]), 400
        return jsonify(errors=[], warnings=[])

    def info(self, user, name, revision="main"):
        commit, files = self._commit(user, name, revision)
        if commit is None:
            return files
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        return jsonify(id=f"{user}/{name}", sha=commit, siblings=siblings, tags=[], private=False, downloads=0, likes=0)

    def tree(self, user, name, revision):
        commit, files = self._commit(user, name, revision)
        if commit is None:
            return files
        return jsonify([self._entry(path, content) for path, content in files.items()])

    @staticmethod
    def _entry(path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if len(content) >= BIG:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def preupload(self, user, name, revision):
        _, files = self._commit(user, name, revision)
        modes = []
        for file in request.json["files"]:
            known = self._entry("", files[file["path"]])["oid"] if file["path"] in files else None
            mode = "lfs" if file["size"] >= BIG else "regular"
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return jsonify(files=modes)

    def batch(self, user, name):
        objects = []
        for wanted in request.json["objects"]:
            oid = wanted["oid"]
            upload = {} if oid in self.stored else {"actions": {"upload": {"href": f"{self.url}/stored/{oid}"}}}
            objects.append({"oid": oid, "size": wanted["size"]} | upload)
        return jsonify(transfer="basic", objects=objects)

    def store(self, oid):
        content = request.get_data()
        assert hashlib.sha256(content).hexdigest() == oid
        self.stored[oid] = content
        return ""

    def commit(self, user, name, revision):
        if self.fails:
            self.fails = ""
            return self._error(500, "Internal", "something broke")
        if self._user() != user:
            return self._error(403, "Forbidden", "You don't have the rights to write there")
        before, files = self._commit(user, name, revision)
        files = dict(files)
        for line in request.get_data().splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            elif said["key"] == "deletedFile":
                del files[value["path"]]
        self.repos[f"{user}/{name}"].append(files)
        commit = f"{int(before, 16) + 1:040x}"
        return jsonify(commitUrl=f"{self.url}/{user}/{name}/commit/{commit}", commitOid=commit, pullRequestUrl=None)

    def resolve(self, user, name, revision, path):
        commit, files = self._commit(user, name, revision)
        if commit is None:
            return files
        if path not in files:
            return self._error(404, "EntryNotFound")
        content = files[path]
        entry = self._entry(path, content)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        status = 206 if "Range" in request.headers else 200
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        rest = content[begin:]
        headers["Content-Length"] = str(len(rest))
        if request.method == "GET" and len(content) >= BIG:
            self.begins.append(begin)
        if request.method == "GET" and self.cut is not None and len(rest) > self.cut:
            rest, self.cut = rest[: self.cut], None
        return Response(iter([rest] if request.method == "GET" else []), status, headers)
