"""What the playground of a run shares with `wildlam search`: groups, and the index."""

import json
import shutil
import tarfile
import time
from contextlib import contextmanager

import numpy as np
import pytest

from wildlam.app.config import AppConfig
from wildlam.app.server import open_playground
from wildlam.errors import WildlamError
from wildlam.pretrained import FILMS, TINY
from wildlam.workflows.search import open_index, search
from wildlam.workflows.search_build import build_search

from ..lerobot_sets import EPISODES, write_with_states
from .conftest import served
from .test_server import ask


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six of the films that come with the package."""
    root = tmp_path_factory.mktemp("videos")
    for film in [film for film in sorted(FILMS.rglob("*.mp4")) if film.parts[-3] in ("arm", "nav")][:6]:
        to = root / film.relative_to(FILMS)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, to)
    return root


@pytest.fixture
def run(runs, tmp_path):
    return shutil.copytree(runs / "tiny", tmp_path / "run")


@contextmanager
def opened(run, videos, **settings):
    """The playground of a run, ready, and its address."""
    with served(AppConfig(run=run, videos=videos, **settings)) as (playground, address):
        until = time.monotonic() + 60
        while playground.gathering is None or playground.gathering.pending:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield playground, address


def told(address, path, **given):
    return json.loads(ask(address, path, **given)[2])


def test_a_group_of_the_map_is_searched_for_and_one_of_a_search_is_in_the_playground(run, videos):
    index = build_search(run=run, data=videos).index
    with opened(run, videos) as (playground, address):
        assert len(playground.mapped) == len(index)
        assert index.held(playground.mapped.all) == playground.mapped.all  # at the same times, to the last digit
        given = json.dumps({"name": "drawn here", "numbers": [3, 4, 5]}).encode()
        told(address, "/api/groups", data=given)
        found = search(run=run, like="group:drawn here", count=5)
        assert {(one.video, one.start) for one in found.example.transitions} == {
            (one.video, one.start) for one in playground.mapped.all[3:6]
        }
        assert len(found.hits) == 5
        search(run=run, like="group:drawn here", count=5, save_group="found there")
        groups = told(address, "/api/state")["groups"]
        assert groups == [
            {"name": "drawn here", "size": 3, "mapped": 3},
            {"name": "found there", "size": 8, "mapped": 8},
        ]
        assert told(address, "/api/groups/found%20there", method="DELETE") == {}
        assert [file.name for file in (run / "groups").iterdir()] == ["drawn here.json"]
        assert ask(address, "/api/groups/..%2Fconfig.yaml", method="DELETE")[0] in (400, 404)
    with pytest.raises(WildlamError, match="has no group 'found there' \\(there are: drawn here\\)"):
        search(run=run, like="group:found there")


def test_a_group_of_which_nothing_is_mapped_is_a_key_all_the_same(run, videos):
    with opened(run, videos) as (playground, _):
        playground.group("mine", [0, 1])
    file = run / "groups" / "mine.json"
    file.write_text(file.read_text().replace("held_out/", "elsewhere/").replace("train/", "elsewhere/"))
    (run / "app.json").write_text('{"transitions": [1, 2], "names": {}, "groups": {"g1": {"name": "x"}}}')
    with opened(run, videos) as (playground, address):
        (group,) = playground.groups
        assert told(address, "/api/state")["groups"] == [{"name": "mine", "size": 2, "mapped": 0}]
        assert (playground.action_of(group).numpy() == group.z).all()
        (run / "groups" / "bad.json").write_text("{}")
        assert [one["name"] for one in told(address, "/api/state")["groups"]] == ["mine"]


def test_an_index_is_searched_as_soon_as_it_is_there(run, videos):
    with opened(run, videos, most=10) as (playground, address):
        one = playground.mapped.all[0]
        of = f"/api/near?video={playground.library.named(one.video).key}&at={one.start}&count=48"
        before = told(address, of)
        assert len(before["found"]) == len(playground.mapped) - 1
        command = f"wildlam search build {run} --data.path {videos}"
        assert before["searched"].endswith(f"those of 1 of 6 videos. For all: {command}")
        index = build_search(run=run, data=videos).index
        assert told(address, "/api/state")["indexed"]
        after = told(address, of)
        assert after["searched"] == f"All {len(index):,} transitions of the run's index are searched."
        expected = index.nearest(index.vectors([one])[0], 49)[1:]
        assert [(hit["name"], hit["start"]) for hit in after["found"]] == [(hit.video, hit.start) for hit in expected]
        unmapped = next(hit for hit in after["found"] if hit["name"] != one.video)
        assert told(address, f"/api/near?video={unmapped['video']}&at={unmapped['start']}")["found"]
        assert len(told(address, f"{of}&apart=1&source=nav&min_speed=0.2")["found"]) == len(
            {hit.video for hit in expected if hit.source == "nav"}
        )
        playground.library._by_name.pop(expected[0].video)  # as if it had come after the playground
        (run / "search" / "index.json").touch()
        assert expected[0].video not in {hit["name"] for hit in told(address, of)["found"]}
        about = (run / "search" / "index.json").read_text()
        (run / "search" / "index.json").write_text(about.replace(index.weights, "other"))
        refused = told(address, of)
        assert len(refused["found"]) == len(before["found"])
        assert "(not searched in its index: " in refused["searched"]
        assert "delete the folder and build it again" in refused["searched"]


def test_the_packaged_run_has_its_index_and_groups_with_the_videos(videos, tmp_path):
    root = shutil.copytree(videos, tmp_path / "my videos")
    with opened(TINY, root, most=10) as (playground, address):
        one = playground.mapped.all[0]
        of = f"/api/near?video={playground.library.named(one.video).key}&at={one.start}&count=48"
        command = f"wildlam search build tiny --data.path '{root}'"
        assert told(address, of)["searched"].endswith(f"For all: {command}")
        index = build_search(run="tiny", data=root).index
        assert told(address, of)["searched"] == f"All {len(index):,} transitions of the run's index are searched."
        playground.group("drawn here", [0, 1])
    assert search(run="tiny", data=root, like="group:drawn here", count=3).hits
    elsewhere = tmp_path / "index"
    with opened(TINY, root, most=10, index=elsewhere) as (_, address):
        assert told(address, of)["searched"].endswith(f"For all: {command} --out {elsewhere}")
        shutil.copytree(index.folder, elsewhere)
        assert told(address, of)["searched"] == f"All {len(index):,} transitions of the run's index are searched."
        assert [one["name"] for one in told(address, "/api/state")["groups"]] == ["drawn here"]


def test_the_map_takes_latent_actions_from_an_index(run, videos, monkeypatch):
    with opened(run, videos) as (playground, _):
        inferred = playground.transitions
    index = build_search(run=run, data=videos).index
    monkeypatch.setattr("wildlam.workflows.transitions.from_file", lambda *_: pytest.fail("inferred again"))
    with opened(run, videos) as (playground, _):
        known = playground.transitions
        assert (known.videos, len(known)) == (inferred.videos, len(index))
        for name in ("start", "end", "change"):
            np.testing.assert_allclose(
                getattr(known, name), getattr(inferred, name), rtol=2e-3
            )  # states are kept in 16 bits
        np.testing.assert_allclose(known.z.numpy(), inferred.z.numpy(), atol=0.05)


def test_an_index_of_other_videos_is_not_searched(run, videos, tmp_path):
    others = shutil.copytree(videos / "nav", tmp_path / "others")
    index = build_search(run=run, data=others).index
    assert len(open_index(run)) == len(index)
    with opened(run, videos) as (playground, address):
        key = playground.library.videos[0].key
        assert f"{run / 'search'} is an index of {others}" in told(address, f"/api/near?video={key}&at=1")["searched"]


def test_videos_in_shards_and_episodes_in_films_are_found_and_shown(run, videos, tmp_path, make_video):
    root = tmp_path / "all"
    write_with_states(root / "robot", make_video)
    with tarfile.open(root / "walks.tar", "w") as tar:
        for film in sorted((videos / "nav").rglob("*.mp4")):
            tar.add(film, film.name)
    index = build_search(run=run, data=root).index
    sources = {"robot", "."}
    with opened(run, root) as (playground, address):
        assert set(index.sources) == sources
        assert index.held(playground.mapped.all) == playground.mapped.all
        assert len(playground.mapped) == len(index)
        for source in sources:
            one = next(one for one in playground.mapped.all if one.source == source and one.start > 0)
            key = playground.library.named(one.video).key
            answer = told(address, f"/api/near?video={key}&at={one.start}&count=48")
            assert answer["searched"] == f"All {len(index):,} transitions of the run's index are searched."
            assert len(answer["found"]) == 48
            for hit in answer["found"][:3]:
                assert ask(address, f"/api/videos/{hit['video']}/frame?at={hit['start']}")[0] == 200
        (done,) = playground.actions.values()  # of the episodes of the camera that was read
        labelled = {playground.mapped.all[n].video for n in np.flatnonzero(np.isfinite(done).all(axis=1))}
        assert len(labelled) == EPISODES
        assert len({video.partition("#")[0] for video in labelled}) == 1
    alone = open_playground(AppConfig(run=run, videos=root / "robot"))  # its films lie in videos/, its states do not
    assert alone.folder_of("videos") == root / "robot"
    alone.close()
