"""What is asked of the playground without a browser: well-meant, and not."""

import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from wildlam.app.config import AppConfig
from wildlam.app.server import open_playground
from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Discrete
from wildlam.pretrained import FILMS, FIRST_FILM, TINY
from wildlam.workflows.drive import Drive

from .conftest import served
from .test_library import picture


def ask(address, path, data=None, method=None, headers=None):
    """Status, headers and body of an answer."""
    request = urllib.request.Request(address + path, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def raw(address, line, headers="", body=""):
    """An answer to a request as it is written here: urllib would tidy the path up."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=10) as link:
        link.sendall(f"{line} HTTP/1.1\r\nHost: {place.netloc}\r\n{headers}Connection: close\r\n\r\n{body}".encode())
        answer = b""
        while part := link.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/../../pretrained/tiny/config.yaml",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/../../../../etc/passwd",
        "/api/videos/..%2f..%2f..%2fetc%2fpasswd/frame",
        "/api/videos//etc/passwd/frame",
        "/api/videos/%2fetc%2fpasswd/frame",
        "/api/films/..%2f..%2fetc%2fpasswd",
        "/api/runs/curves?run=../../../../etc",
        "/api/runs/curves?run=/etc",
        "/api/videos?source=../../..",
    ],
)
def test_no_path_leads_out(tiny, path):
    answer = raw(tiny[1], f"GET {path}")
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404) or b'"videos":[]' in answer
    assert b"root:" not in answer
    assert b"def make_app" not in answer
    assert b"bottleneck" not in answer


def test_another_name_and_another_page_are_refused(tiny):
    _, address = tiny
    host = urlsplit(address).netloc
    assert ask(address, "/api/state", headers={"Host": "evil.example"})[0] == 403
    assert ask(address, "/api/state", headers={"Origin": "http://evil.example"})[0] == 403
    assert ask(address, "/api/state", headers={"Origin": f"http://{host}"})[0] == 200
    with pytest.raises(InvalidStatus):
        connect(f"ws://{host}/api/drive", origin="http://evil.example").close()


def test_answers_say_that_nothing_comes_from_elsewhere(tiny):
    status, headers, body = ask(tiny[1], "/")
    assert status == 200
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    static = Path(open_playground.__code__.co_filename).parent / "static"
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name
    assert b"<title>" in body


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("/api/videos/nothing", None, "no such video"),
        ("/api/videos/v0/frame?at=nan", None, "at must be a number"),
        ("/api/videos/v0/frame?at=1e5", None, "the video ends before"),
        ("/api/videos/v0/frame?side=100000", None, "side must be a number from 16 to 512"),
        ("/api/jobs/nothing", None, "no such piece of work"),
        ("/api/films/nothing", None, "that film is gone"),
        ("/api/near?video=v0&at=-1", None, "at must be a number from 0 to"),
        ("/api/near?video=../v0", None, "no such video"),
        ("/api/near?video=v0&group=nothing", None, "no such group"),
        ("/api/near?like=../nothing", None, "no such group"),
        ("/api/near?video=v0&min_speed=2", None, "min_speed must be a number from 0 to 1"),
        ("/api/near?video=v0&min_speed=0.5&max_speed=0.2", None, "least speed and greatest speed are shares"),
        ("/api/near?video=v0&after=5&before=2", None, "from must be at least 0 and less than until"),
        ("/api/transfer", b"[]", "no JSON object"),
        ("/api/transfer", b"{", "not JSON"),
        ("/api/transfer", b"[" * 100_000, "not JSON"),
        ("/api/transfer", b'{"source": "v0", "target": "v99"}', "no such video"),
        ("/api/transfer", b'{"source": "v0", "target": "v1", "seconds": 1e9}', "seconds must be a number"),
        ("/api/plan", b'{"start": "v0", "goal": "v0"}', "no controller ''"),
        ("/api/groups", b'{"name": "x", "numbers": ["a"]}', "a group is a list"),
        ("/api/groups", b'{"name": "x", "numbers": [123456]}', "a group is of one transition at least"),
        ("/api/groups", b'{"name": "", "numbers": [1]}', "a name has 1 to 40 letters"),
        ("/api/groups", b'{"name": "../up", "numbers": [1]}', "a group cannot be called '../up'"),
        ("/api/names", b'{"key": "group:../up", "name": "x"}', "a group cannot be called '../up'"),
        ("/api/names", b'{"key": "stay", "name": "x"}', "this key has a name of its own"),
        ("/api/uploads?name=a.mp4", b"no film", "a.mp4 cannot be read: it is none of these, or damaged"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tiny, path, data, said):
    status, _, body = ask(tiny[1], path, data)
    error = json.loads(body)["error"]
    assert status == 400
    assert said in error
    assert "\n" not in error


def test_an_upload_is_cut_off_where_it_is_too_large(tiny):
    answer = raw(tiny[1], "POST /api/uploads?name=huge.mp4", headers="Content-Length: 99999999999\r\n")
    assert b"huge.mp4 is larger than 64 MB" in answer


def test_an_upload_that_tells_no_length_is_cut_off_too(tiny, monkeypatch):
    monkeypatch.setattr("wildlam.app.pages.shared.BYTES", 1000)
    chunk = "3e8\r\n" + "x" * 1000 + "\r\n"
    answer = raw(
        tiny[1],
        "POST /api/uploads?name=huge.mp4",
        headers="Transfer-Encoding: chunked\r\n",
        body=f"{chunk * 4}0\r\n\r\n",
    )
    assert b"is larger than" in answer


@pytest.fixture
def seat(tiny):
    """Ask a drive for something."""
    with connect(tiny[1].replace("http", "ws") + "/api/drive") as link:

        def asked(**request):
            link.send(json.dumps(request))
            return json.loads(link.recv(60))

        asked.link = link
        yield asked


def key_of(tiny, source):
    return next(one.key for one in tiny[0].library.videos if one.source == source and one.split == "held_out")


def numbers_of(playground, told):
    """Numbers of transitions that were told."""
    number = {(one.video, one.start): n for n, one in enumerate(playground.mapped.all)}
    return [number[one["name"], one["start"]] for one in told]


def test_a_drive_with_each_set_of_keys(tiny, seat):
    assert seat(do="start", video=key_of(tiny, "nav"), at=2.0)["steps"] == 0
    sets = seat(do="keys")["sets"]
    assert [one["key"] for one in sets[:4]] == ["real:controller_nav", "real:controller_arm", "found", "directions"]
    labels = [key["label"] for key in sets[0]["keys"]]
    assert labels == ["forward", "back", "step left", "step right", "turn left", "turn right", "stay"]
    pictures = set()
    for number, of in enumerate(sets[:4], 1):
        assert all(key["examples"] for key in of["keys"])
        told = seat(do="step", set=of["key"], keys=[of["keys"][0]["key"]])
        assert told["steps"] == number
        pictures.add(told["picture"])
    assert len(pictures) == 4
    for of in sets[:4]:
        by_strength = [
            (seat(do="step", set=of["key"], keys=[key], strength=strength), seat(do="back"))[0]["picture"]
            for key, strength in ((of["keys"][0]["key"], 1), (of["keys"][0]["key"], 0), ("stay", 1), ("stay", 3))
        ]
        assert by_strength[0] != by_strength[1]
        assert by_strength[1] == by_strength[2] == by_strength[3]
    assert seat(do="back")["steps"] == 3
    film = seat(do="save")["film"]
    assert ask(tiny[1], f"/api/films/{film}")[2][4:8] == b"ftyp"
    assert seat(do="reset")["steps"] == 0


def test_an_arm_goes_to_the_robots_left_whatever_the_camera_shows(tiny, seat):
    seat(do="start", video=key_of(tiny, "arm"), at=2.0)
    labels = {key["letter"]: key["label"] for key in seat(do="keys")["sets"][0]["keys"]}
    assert (labels["a"], labels["d"]) == ("robot's left", "robot's right")


def test_a_drive_begins_with_a_film_that_only_actions_move(tiny, monkeypatch):
    playground, _ = tiny

    def name():
        return playground.library.find(playground.told()["first"]).name

    assert name() == FIRST_FILM
    assert (FILMS / FIRST_FILM).is_file()
    monkeypatch.setattr("wildlam.app.playground.FIRST_FILM", "of other videos")
    assert name() == "arm/held_out/arm_2000_0001.mp4"
    monkeypatch.setattr(playground._loaded, "drivers", [])
    assert playground.told()["first"] is None


def test_a_codebook_gives_a_key_for_each_code_the_most_used_first(tiny, seat, monkeypatch):
    playground, _ = tiny
    known = playground.transitions
    bottleneck = Discrete(dim=known.z.shape[1], codes=40).build()
    bottleneck.codebook[:30] = known.z[torch.randperm(len(known))[:30]]
    bottleneck.codebook[30:] = 1e3  # which nothing is near
    seat(do="start", video=key_of(tiny, "nav"), at=2.0)
    monkeypatch.setitem(playground.trained.model._modules, "bottleneck", bottleneck)
    sets = {one["key"]: one for one in seat(do="keys")["sets"]}
    assert sets.keys() == {"real:controller_nav", "real:controller_arm", "codes"}
    keys = sets["codes"]["keys"]
    among = known.of_source("nav")
    codes = bottleneck.assign(known.z[among])
    counts = codes.bincount()
    assert [int(counts[int(key["key"][1:])]) for key in keys] == sorted(counts.tolist(), reverse=True)[:16]
    assert len({key["letter"] for key in keys}) == len(keys)
    for key in keys:
        numbers = numbers_of(playground, key["examples"])
        assert all(codes[among == n] == int(key["key"][1:]) for n in numbers)
    assert (sets["codes"]["scales"], sets["real:controller_nav"]["scales"]) == (False, True)
    taken = []
    monkeypatch.setattr(Drive, "step", lambda self, z: taken.append(z))
    seat(do="step", set="codes", keys=[keys[1]["key"]], strength=3)
    assert taken[0].equal(bottleneck.codebook[int(keys[1]["key"][1:])])


def test_examples_of_a_real_action_are_transitions_in_which_it_was_done(tiny, seat):
    playground, _ = tiny
    seat(do="start", video=key_of(tiny, "nav"), at=2.0)
    of = seat(do="keys")["sets"][0]
    turns = playground.actions[("forward", "left", "turn")][:, 2]
    for label, sign in (("turn left", 1), ("turn right", -1)):
        key = next(key for key in of["keys"] if key["label"] == label)
        assert (sign * turns[numbers_of(playground, key["examples"][:1])]) > 0


def test_keys_of_another_world_come_last_and_show_what_was_done_there(tiny, seat):
    playground, _ = tiny
    sources = {one.key: one.source for one in playground.library.videos}
    spaces = {name: playground.driver(name).space.action_names for name in ("controller_arm", "controller_nav")}
    for source in playground.library.sources:
        seat(do="start", video=key_of(tiny, source), at=2.0)
        sets = seat(do="keys")["sets"]
        first = {"arm": "real:controller_arm", "nav": "real:controller_nav"}.get(source, "found")
        assert sets[0]["key"] == first
        for name, names in spaces.items():
            of = next(one for one in sets if one["key"] == f"real:{name}")
            shown = [example for key in of["keys"] for example in key["examples"]]
            assert np.isfinite(playground.actions[names][numbers_of(playground, shown)]).all()
            assert {sources[one["video"]] for one in shown} == {name.removeprefix("controller_")}


def test_a_real_action_that_nobody_did_has_no_examples(tiny, seat, monkeypatch):
    monkeypatch.setattr(tiny[0], "actions", {})
    seat(do="start", video=key_of(tiny, "nav"), at=2.0)
    real, found = (
        next(s for s in seat(do="keys")["sets"] if s["key"] == key) for key in ("real:controller_arm", "found")
    )
    assert not any(key["examples"] for key in real["keys"])
    assert all(key["examples"] for key in found["keys"])


def test_a_drive_from_a_picture_of_ones_own(tiny, seat):
    _, _, body = ask(tiny[1], "/api/uploads?name=red.png", picture())
    told = json.loads(body)
    assert told["kind"] == "picture"
    assert seat(do="start", video=told["key"])["steps"] == 0
    of = seat(do="keys")["sets"][0]
    assert seat(do="step", set=of["key"], keys=[of["keys"][1]["key"]], strength=2)["steps"] == 1


def test_a_drive_refuses_what_it_cannot_do_and_goes_on(tiny, seat):
    assert "choose a picture" in seat(do="step", set="found", keys=["stay"])["error"]
    assert "no such video" in seat(do="start", video="../../etc/passwd")["error"]
    assert "nothing that can be done" in seat(do="shutdown")["error"]
    seat.link.send("{")
    assert "no request of a drive" in json.loads(seat.link.recv(10))["error"]
    assert seat(do="start", video=key_of(tiny, "arm"), at=1)["steps"] == 0
    seat(do="keys")
    for keys in ([], ["nothing"], "stay", ["stay"] * 99):
        assert "no such key" in seat(do="step", set="found", keys=keys)["error"]
    assert "strength must be" in seat(do="step", set="found", keys=["stay"], strength="many")["error"]
    assert "nothing to save yet" in seat(do="save")["error"]


def test_a_group_gets_a_key_and_filters_a_search(tiny, seat):
    playground, address = tiny
    numbers = [0, 1, 2, 40]
    asked = json.dumps({"name": " to the  left ", "numbers": numbers}).encode()
    assert json.loads(ask(address, "/api/groups", asked)[2]) == {"name": "to the left"}
    assert "there is a group 'to the left' already" in json.loads(ask(address, "/api/groups", asked)[2])["error"]
    here = playground.mapped.all[0]
    of = f"video={playground.library.named(here.video).key}&at={here.start}"
    try:
        assert json.loads(ask(address, "/api/groups/to%20the%20left")[2]) == {"numbers": numbers}
        seat(do="start", video=key_of(tiny, "arm"), at=1)
        named = next(one for one in seat(do="keys")["sets"] if one["key"] == "named")
        assert [one["label"] for one in named["keys"]] == ["to the left", "stay"]
        assert set(numbers_of(playground, named["keys"][0]["examples"])) <= set(numbers)
        assert seat(do="step", set="named", keys=["group:to the left"])["steps"] == 1
        found = json.loads(ask(address, f"/api/near?{of}&group=to%20the%20left")[2])["found"]
        assert {(one["name"], one["start"]) for one in found} == {
            (one.video, one.start) for one in map(playground.mapped.all.__getitem__, numbers[1:])
        }
        assert [one["distance"] for one in found] == sorted(one["distance"] for one in found)
        like = json.loads(ask(address, "/api/near?like=to%20the%20left&count=48")[2])["found"]
        assert len(like) == 48
        assert not {(one["name"], one["start"]) for one in like} & {(one["name"], one["start"]) for one in found}
        assert ask(address, "/api/names", b'{"key": "group:to the left", "name": "stay"}')[0] == 200
        named = next(one for one in seat(do="keys")["sets"] if one["key"] == "named")
        assert named["keys"][0] | {"examples": []} == {
            "key": "group:stay", "label": "stay", "letter": "1", "renames": True, "examples": []
        }  # fmt: skip
        assert seat(do="step", set="named", keys=["group:stay"])["steps"] == 2
    finally:
        for name in ("to%20the%20left", "stay"):
            ask(address, f"/api/groups/{name}", method="DELETE")
    assert not list(playground.groups)
    assert not (TINY / "groups").exists()


def test_filters_leave_what_they_say(tiny):
    playground, address = tiny
    one = playground.mapped.all[10]
    of = f"video={playground.library.named(one.video).key}&at={one.start}&count=48"
    asked = json.loads(ask(address, f"/api/near?{of}&min_speed=0.5&max_speed=0.8&after=1&before=3&source=nav")[2])
    assert asked["searched"] == f"{len(playground.transitions):,} transitions are searched, those of all videos."
    speeds = np.array([known.speed for known in playground.mapped.all])
    low, high = np.quantile(speeds, [0.5, 0.8])
    expected = {
        (one.video, one.start)
        for one in playground.mapped.all
        if low <= one.speed <= high and one.start >= 1 and one.end <= 3 and one.source == "nav"
    }
    found = {(hit["name"], hit["start"]) for hit in asked["found"]}
    assert len(found) == min(48, len(expected - {(one.video, one.start)}))
    assert found <= expected
    assert all(0.49 <= hit["rank"] <= 0.81 for hit in asked["found"])
    apart = json.loads(ask(address, f"/api/near?{of}&apart=1")[2])["found"]
    assert len({hit["video"] for hit in apart} | {of}) == len(apart) + 1
    assert one.video not in {hit["name"] for hit in apart}


def test_a_plan_that_nobody_waits_for_any_more_ends_and_the_map_did_not_wait_for_it(tiny):
    playground, address = tiny
    arm = key_of(tiny, "arm")
    plan = {"start": arm, "at": 1, "goal": arm, "until": 2, "controller": "controller_arm", "steps": 12}
    key = json.loads(ask(address, "/api/plan", json.dumps(plan).encode())[2])["key"]
    drawn = json.loads(ask(address, "/api/map", b'{"umap": false}')[2])["key"]
    assert state_of(address, drawn) == "done"
    assert playground.jobs.find(key).pending
    assert ask(address, f"/api/jobs/{key}", method="DELETE")[0] == 200
    assert state_of(address, key) == "cancelled"
    needed = ask(address, f"/api/jobs/{playground.gathering.key}", method="DELETE")
    assert "cannot be cancelled" in json.loads(needed[2])["error"]


def test_a_transfer_ends_between_two_of_its_parts(tiny, monkeypatch):
    playground, address = tiny
    real, parts = playground.trained.encoder.encode, []

    def encode(frames):
        parts.append(len(frames))
        playground.jobs.cancel(list(playground.jobs._jobs)[-1])
        return real(frames)

    monkeypatch.setattr(playground.trained.encoder, "encode", encode)
    given = {"source": key_of(tiny, "nav"), "target": key_of(tiny, "arm")}
    key = json.loads(ask(address, "/api/transfer", json.dumps(given).encode())[2])["key"]
    assert state_of(address, key) == "cancelled"
    assert len(parts) == 1


def state_of(address, key):
    """How a job ended."""
    until = time.monotonic() + 60
    state = "waiting"
    while state in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.05)
        state = json.loads(ask(address, f"/api/jobs/{key}")[2])["state"]
    return state


def test_a_search_for_what_was_brought(tiny, make_video, tmp_path):
    film = make_video(tmp_path / "a.mp4", frames=48).read_bytes()
    key = json.loads(ask(tiny[1], "/api/uploads?name=a.mp4", film)[2])["key"]
    found = json.loads(ask(tiny[1], f"/api/near?video={key}&at=0.5&apart=1&count=5")[2])["found"]
    assert len({one["video"] for one in found}) == 5
    late = json.loads(ask(tiny[1], f"/api/near?video={key}&at=1.95")[2])
    assert "choose an earlier time" in late["error"]


def test_a_folder_that_is_no_run_and_videos_that_are_not_there(tmp_path):
    with pytest.raises(WildlamError, match="is not a run folder"):
        open_playground(AppConfig(run=tmp_path))
    with pytest.raises(WildlamError, match="no such folder of videos"):
        open_playground(AppConfig(videos=tmp_path / "none"))
    with pytest.raises(ValueError, match="from 0 to 65535"):
        AppConfig(port=70_000)


def test_a_run_without_a_decoder_says_which_command_makes_one(without_decoder):
    playground = open_playground(AppConfig(run=without_decoder))
    try:
        assert playground.told()["no_decoder"] == f"{without_decoder} has no decoder"
        with pytest.raises(WildlamError, match=f"train one: wildlam decoder train '{without_decoder}'"):
            _ = playground.decoder
    finally:
        playground.close()


def test_whose_decoder_paints_is_told(runs, tmp_path):
    copy = shutil.copytree(runs / "tiny", tmp_path / "copy", ignore=shutil.ignore_patterns("decoder"))
    for run, borrowed in ((runs / "tiny", False), (copy, True)):
        playground = open_playground(AppConfig(run=run))
        try:
            told = playground.told()
        finally:
            playground.close()
        assert (told["borrowed"], told["no_decoder"]) == (borrowed, "")


def test_videos_that_cannot_be_used_are_left_out(some_unusable, runs, caplog):
    with served(AppConfig(run=TINY, videos=some_unusable, runs=runs)) as (playground, address):
        told = json.loads(ask(address, "/api/videos")[2])
        assert sorted(one["name"] for one in told["videos"]) == ["good.mp4", "one_frame.mp4"]
        assert told["left_out"].startswith("2 videos are left out (")
        assert "a_corrupt.mp4: not a video, or damaged" in told["left_out"]
        assert told["next"] is None
        for one in told["videos"]:
            at = min(0.5, one["seconds"] / 2)
            assert ask(address, f"/api/videos/{one['key']}/frame?at={at}")[0] == 200
        until = time.monotonic() + 60
        while (playground.gathering is None or playground.gathering.pending) and time.monotonic() < until:
            time.sleep(0.1)
    assert "wildlam app: 2 videos are left out (" in caplog.text


def test_more_videos_come_behind_those_that_are_shown(tiny, monkeypatch):
    monkeypatch.setattr("wildlam.app.pages.shared.PAGE", 5)
    _, address = tiny
    names, first = [], 0
    while first is not None:
        told = json.loads(ask(address, f"/api/videos?first={first}")[2])
        names += [one["name"] for one in told["videos"]]
        first = told["next"]
    assert sorted(names) == sorted(one.name for one in tiny[0].library.videos)


def test_reports_of_runs_are_shown_as_pages_of_nobodys_and_nothing_else_is(tiny, runs):
    _, address = tiny
    (run,) = json.loads(ask(address, "/api/runs")[2])["runs"]
    assert run["reports"] == ["tiny/report.html"]
    status, headers, body = ask(address, "/api/reports/tiny/report.html")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"of the run" in body
    (policy,) = headers.get_all("Content-Security-Policy")
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    secret = runs / "secret.html"
    secret.write_text("not to be shown")
    link = runs / "tiny" / "linked" / "report.html"
    link.parent.mkdir()
    link.symlink_to(secret)
    try:
        assert json.loads(ask(address, "/api/runs")[2])["runs"][0]["reports"] == ["tiny/report.html"]
        for path in (
            "tiny/linked/report.html",
            "secret.html",
            "tiny/config.yaml",
            "tiny/..%2fsecret.html",
            "%2fetc%2fpasswd",
        ):
            assert ask(address, f"/api/reports/{path}")[0] == 400, path
    finally:
        link.unlink()
        link.parent.rmdir()
        secret.unlink()


def test_a_video_begins_where_there_is_most_to_see(tiny):
    playground, address = tiny
    for item in playground.library.videos:
        told = json.loads(ask(address, f"/api/videos/{item.key}")[2])
        contrast = [playground.library.frames(item.key, [at], 32).float().mean(dim=1).std().item()
                    for at in (told["clear"], told["seconds"] / 2)]  # fmt: skip
        assert contrast[0] >= contrast[1]


def test_the_address_stays_the_last_line(runs, capfd):
    with served(AppConfig(runs=runs)) as (playground, _):
        until = time.monotonic() + 120
        while (playground.gathering is None or playground.gathering.pending) and time.monotonic() < until:
            time.sleep(0.1)
        assert playground.transitions is not None
    assert "indexing" not in "".join(capfd.readouterr())
