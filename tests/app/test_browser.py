"""The playground as a person sees it: each page in a browser, wide and narrow, without a complaint of the browser's and
without a request to elsewhere."""

import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from wildlam.app.config import AppConfig
from wildlam.pretrained import FILMS
from wildlam.workflows import goal_plan
from wildlam.workflows.search import search
from wildlam.workflows.search_build import build_search

from .conftest import served

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.slow]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield made
        made.close()


@pytest.fixture(params=[1400, 400], ids=["wide", "narrow"])
def page(browser, tiny, request):
    """A page of the playground, to be sent to one of its parts."""
    address = tiny[1]
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(90_000)  # where much else is going on
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    elsewhere = ("data:", "blob:", address)
    page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(elsewhere) else None)
    page.to = lambda part: page.goto(f"{address}/#{part}")
    page.complaints = complaints
    yield page
    assert not complaints
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    assert page.evaluate("[...document.images].filter(i => i.complete && i.src && !i.naturalWidth).length") == 0
    page.close()


def seen(page):
    """What the dream shows, as an address of a picture."""
    return page.get_attribute(".stage img", "src")


def stepped(page, least=1):
    """Wait for so many steps of the dream; of more, too, where the page runs ahead of this process. Tell how many."""
    page.wait_for_function("(least) => parseInt(document.querySelector('.corner').textContent) >= least", arg=least)
    return int(page.inner_text(".corner").split()[0])


def back_to_the_start(page):
    corner = page.locator(".corner").first
    while (before := corner.text_content()) != "start":
        page.keyboard.press("Backspace")
        page.wait_for_function("(before) => document.querySelector('.corner').textContent !== before", arg=before)


def test_drive_by_keyboard_and_by_hand(page):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    start = seen(page)
    page.keyboard.down("a")
    stepped(page, 3)
    page.keyboard.up("a")
    page.wait_for_selector(".key.down", state="detached")
    assert seen(page) != start
    page.get_by_role("button", name="reset").click()
    page.wait_for_function("() => document.querySelector('.corner').textContent === 'start'")
    assert seen(page) == start
    page.get_by_role("button", name="found actions").click()
    page.locator(".key").nth(3).click()
    stepped(page)
    page.get_by_role("button", name="save film").click()
    page.wait_for_selector("#page video")
    page.wait_for_function("() => document.querySelector('#page video').videoWidth > 0")
    # It is scrolled to.
    page.wait_for_function(
        "() => { const { top, bottom } = document.querySelector('.film').getBoundingClientRect(); "
        "return top >= 0 && bottom <= 900; }"
    )
    back_to_the_start(page)
    page.get_by_role("button", name="close").click()
    assert not page.locator("#page video").count()


def test_a_key_that_is_held_goes_on_when_the_keys_are_told_again(page):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")

    def told_again():
        page.evaluate("document.querySelector('.key').dataset.old = 1; dispatchEvent(new Event('changed'))")
        page.wait_for_selector(".key[data-old]", state="detached")

    def count():
        text = page.inner_text(".corner")
        return 0 if text == "start" else int(text.split()[0])

    def goes_on():
        told_again()
        assert page.locator(".key.down").count() == 1
        stepped(page, count() + 3)

    def ends():
        page.wait_for_selector(".key.down", state="detached")
        before = count()
        page.wait_for_timeout(1500)
        assert count() <= before + 1  # a step that was under way

    page.keyboard.down("a")
    stepped(page)
    goes_on()
    page.keyboard.up("a")
    ends()
    page.locator(".key").first.hover()
    page.mouse.down()
    goes_on()
    page.mouse.up()
    ends()


def test_of_two_keys_that_are_held_one_goes_on(page):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    page.keyboard.down("a")
    page.keyboard.down("d")
    page.wait_for_function("() => document.querySelectorAll('.key.down').length === 2")
    page.keyboard.up("a")
    page.wait_for_function("() => document.querySelectorAll('.key.down').length === 1")
    stepped(page, 2)
    page.keyboard.up("d")
    page.wait_for_selector(".key.down", state="detached")


def test_a_key_is_held_by_a_finger(browser, tiny):
    page = browser.new_context(viewport={"width": 400, "height": 900}, has_touch=True).new_page()
    page.set_default_timeout(90_000)  # where much else is going on
    page.goto(f"{tiny[1]}/#drive")
    page.wait_for_selector(".key .pair", state="attached")
    page.locator(".key").first.scroll_into_view_if_needed()
    box = page.locator(".key").first.bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    stepped(page, 2)
    page.evaluate("document.querySelector('.key').dataset.old = 1; dispatchEvent(new Event('changed'))")
    page.wait_for_selector(".key[data-old]", state="detached")
    assert page.locator(".key.down").count() == 1
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_selector(".key.down", state="detached")
    page.context.close()


def test_a_drive_goes_on_when_the_playground_is_started_again(browser, runs):
    page = browser.new_page()
    page.set_default_timeout(90_000)  # where much else is going on
    thrown = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    with served(AppConfig(runs=runs)) as (_, address):
        page.goto(f"{address}/#drive")
        page.wait_for_selector(".key")
        page.locator(".key").first.click()
        stepped(page)
    page.locator(".key").first.click()
    page.wait_for_selector(".error")
    page.wait_for_selector("text=The playground has ended")
    with served(AppConfig(runs=runs), int(address.rsplit(":", 1)[1])):
        page.wait_for_selector("#banner:has-text('meanwhile'), #banner[hidden]", state="attached")
        page.locator(".key").first.click()
        stepped(page)
        page.goto(f"{address}/#search")
        page.wait_for_selector(".results button")
    page.locator(".thumbs button").last.click()
    page.get_by_role("button", name="nav", exact=True).click()
    page.wait_for_selector(".error >> text=does not answer")
    assert not thrown
    page.close()


def test_the_frame_is_shown_beside_what_the_model_paints(page):
    page.to("drive")
    page.wait_for_selector(".beside img")
    page.wait_for_selector("text=as the model paints it")
    assert "/frame?" in page.get_attribute(".beside img", "src")
    page.locator(".key").first.click()
    stepped(page)
    assert page.get_by_text("as the model paints it").is_hidden()


def test_the_keys_are_those_of_the_source_and_stay_where_it_does(page):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    pressed = ".drive > section:last-child button[aria-pressed=true]"
    assert page.inner_text(pressed) == "arm actions"
    page.get_by_role("button", name="principal directions").click()
    page.get_by_role("button", name="arm", exact=True).click()
    start = seen(page)
    page.locator(".thumbs button[title^='arm']:not([aria-pressed=true])").first.click()
    page.wait_for_function("(before) => document.querySelector('.stage img').src !== before", arg=start)
    page.wait_for_timeout(500)
    assert page.inner_text(pressed) == "principal directions"
    page.get_by_role("button", name="monsters", exact=True).click()
    page.locator(".thumbs button[title^='monsters']").first.click()
    page.wait_for_function(f"() => document.querySelector({pressed!r}).innerText === 'found actions'")


def test_the_dream_stays_in_sight_of_the_keys(page):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    if page.viewport_size["width"] == 400:
        page.wait_for_function(
            "() => { const key = [...document.querySelectorAll('.key')].at(-1); key.scrollIntoView({ block: 'end' }); "
            "const dream = document.querySelector('.stage').getBoundingClientRect(); "
            "return dream.top >= 0 && dream.bottom <= key.getBoundingClientRect().top; }"
        )
        assert page.locator(".examples").first.is_hidden()


def test_the_same_file_can_be_chosen_again(page, tmp_path):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "mine.png")
    for count in (1, 2):
        page.set_input_files("input[type=file]", tmp_path / "mine.png")
        page.wait_for_function(
            "(count) => document.querySelectorAll('.thumbs button[title=\"mine.png\"]').length === count", arg=count
        )
        assert page.input_value("input[type=file]") == ""


def test_drive_from_a_picture_of_ones_own_and_refuse_what_is_none(page, tmp_path):
    page.to("drive")
    page.wait_for_selector(".key .pair", state="attached")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)).save(tmp_path / "mine.png")
    start = seen(page)
    page.set_input_files("input[type=file]", tmp_path / "mine.png")
    page.wait_for_function("(before) => document.querySelector('.stage img').src !== before", arg=start)
    (tmp_path / "notes.txt").write_text("no film")
    with page.expect_response("**/api/uploads*"):
        page.set_input_files("input[type=file]", tmp_path / "notes.txt")
    page.wait_for_selector("text=notes.txt cannot be read")
    assert page.complaints == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    page.complaints.clear()


def test_transfer(page):
    page.to("transfer")
    page.wait_for_function("() => document.querySelectorAll('.thumbs button[aria-pressed=true]').length === 2")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Transfer").click()
    page.wait_for_function("() => document.querySelector('#page video')?.videoWidth > 0")
    assert "Agreement" in page.inner_text("table")


def test_transfer_from_the_camera(page):
    page.to("transfer")
    page.wait_for_function("() => document.querySelectorAll('.thumbs button[aria-pressed=true]').length === 2")
    page.get_by_role("button", name="record 5 s").first.click()
    page.wait_for_selector(".thumbs button[title='webcam.webm'][aria-pressed=true]")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Transfer").click()
    page.wait_for_function("() => document.querySelector('#page video')?.videoWidth > 0")


def test_plan_beside_the_truth(page, monkeypatch):
    monkeypatch.setattr(goal_plan, "SAMPLES", 16)
    monkeypatch.setattr(goal_plan, "ITERATIONS", 2)
    page.to("plan")
    page.wait_for_selector(".preview:not([hidden])")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Plan").click()
    page.wait_for_selector(".strip")
    assert page.locator(".strip").count() == 2
    rows = page.inner_text("table")
    assert "planned in all" in rows
    assert "really done in all" in rows
    assert re.search(r"dy \(m\)\s+\+ robot's left\s+. robot's right", rows)


def begin_a_plan(page, tiny):
    page.to("plan")
    page.wait_for_selector(".preview:not([hidden])")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Plan", exact=True).click()
    page.wait_for_selector("text=/^planning/")
    return list(tiny[0].jobs._jobs.values())[-1]


def test_a_plan_is_cancelled_by_its_button_and_by_leaving_the_page(page, tiny):
    job = begin_a_plan(page, tiny)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("text=Cancelled.")
    page.wait_for_selector("button.main:enabled")
    left = begin_a_plan(page, tiny)
    page.get_by_role("link", name="Map").click()
    page.wait_for_selector(".legend span")
    until = time.monotonic() + 30
    while (job.pending or left.pending) and time.monotonic() < until:
        page.wait_for_timeout(50)
    assert (job.state, left.state) == ("cancelled", "cancelled")


WIDTH_OF_POINTS = """() => {
    const { width, height } = document.querySelector('canvas');
    const { data } = document.querySelector('canvas').getContext('2d').getImageData(0, 0, width, height);
    const at = [...Array(width * height).keys()].filter((i) => data[4 * i + 3]).map((i) => i % width);
    return Math.max(...at) - Math.min(...at);
}"""


def test_map_hover_click_and_name(page, tiny):
    page.to("map")
    page.wait_for_selector(".legend span")
    page.wait_for_function(f"() => ({WIDTH_OF_POINTS})() > 0")
    box = page.locator("canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.get_by_role("button", name="draw a line around some").click()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for x, y in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
    page.mouse.up()
    page.fill("dialog input", "no/file")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog .error")
    assert page.complaints == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    page.complaints.clear()
    page.fill("dialog input", "mine")  # of the same line
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")
    page.wait_for_selector("[title='show its points'][aria-pressed=true] >> text=mine")
    page.get_by_role("link", name="a key in Drive").click()
    page.wait_for_selector("button[aria-pressed=true] >> text=named groups")
    page.get_by_role("link", name="Map", exact=True).click()
    page.wait_for_selector("text=a key in Drive")
    page.wait_for_timeout(300)
    (group,) = tiny[0].groups
    assert (group.name, len(group.members)) == ("mine", len(tiny[0].transitions))
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="forget").click()
    page.wait_for_selector("text=No groups yet")
    for dx in range(-60, 60, 5):
        page.mouse.move(middle[0] + dx, middle[1])
        if page.locator(".tip").is_visible():
            break
    assert page.locator(".tip img").count() == 2
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(".results button")
    assert "search?video=" in page.url


def test_the_map_by_fingers(browser, tiny):
    page = browser.new_context(viewport={"width": 400, "height": 900}, has_touch=True).new_page()
    page.set_default_timeout(90_000)  # where much else is going on
    page.goto(f"{tiny[1]}/#map")
    page.wait_for_selector(".legend span")
    page.wait_for_function(f"() => ({WIDTH_OF_POINTS})() > 0")
    box = page.locator("canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.evaluate(WIDTH_OF_POINTS)
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *apart):
        points = [{"x": x + sign * d, "y": y, "id": i} for d in apart for i, sign in enumerate((-1, 1))]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 100)
    for d in (90, 80, 70):
        touch("touchMove", d)
    touch("touchEnd")
    page.wait_for_function(f"(wide) => Math.abs(({WIDTH_OF_POINTS})() / wide - 1) < 0.05", arg=0.7 * before)
    for dx in range(-60, 60, 5):
        page.touchscreen.tap(x + dx, y)
        if page.locator(".tip").is_visible():
            break
    assert page.locator(".tip img").count() == 2
    page.touchscreen.tap(x + dx, y)
    page.wait_for_selector(".results button")
    page.context.close()


def test_search_on_from_what_was_found(page, tiny):
    films = {item.name.rsplit("/", 1)[-1] for item in tiny[0].library.videos}
    one = tiny[0].mapped.all[20]
    page.to(f"search?video={tiny[0].library.named(one.video).key}&at={one.start}")
    page.wait_for_selector(".results button")
    assert f"{len(tiny[0].transitions):,} transitions are searched, those of all videos." in page.inner_text("#page")
    assert "0: the same direction; 1: unrelated" in page.inner_text("#page")
    of_each = "all => all.map((one) => [!!one.closest('details'), one.textContent.replace(/([0-9])(?=[a-z])/, '$1 ')])"
    hits = page.locator(".results button").evaluate_all(of_each)
    for far, text in hits:
        distance, film = re.fullmatch(r"distance (\d\.\d\d)\s+(.+), \d+\.\d\d s", text).groups()
        assert abs(float(distance) - 0.8) < 0.006 or far == (float(distance) > 0.8)
        assert film in films
    assert {far for far, _ in hits} == {False, True}
    page.wait_for_selector("details:not([open]) summary >> text=hardly alike")
    before = page.url
    page.locator(".results button").first.click()
    page.wait_for_function("(before) => location.href !== before", arg=before)
    page.wait_for_timeout(300)
    held = []
    page.route("**/api/near*", lambda route: route.continue_() if held else held.append(route))
    page.locator(".results button").first.click()
    page.select_option("select[aria-label=source]", "nav")
    narrowed = "() => [1, 2, 3, 4].includes(document.querySelectorAll('.results button').length)"
    page.wait_for_function(narrowed)  # of each of four videos
    with page.expect_event("requestfinished"):
        held[0].continue_()  # the answer to the older question comes last
    page.wait_for_timeout(300)
    assert page.evaluate(f"({narrowed})()")


def test_search_like_a_group_under_filters(page, tiny):
    tiny[0].group("to the left", [0, 1, 2])
    try:
        page.to("map")
        page.get_by_role("link", name="search its like").click()
        page.wait_for_selector(".results button")
        assert page.inner_text(".columns section:first-child strong") == "to the left"
        before = page.locator(".results").first.inner_html()
        page.get_by_label("at most one per video").uncheck()
        page.get_by_role("spinbutton", name="least speed").fill("80")
        page.get_by_role("spinbutton", name="from").fill("1")
        page.get_by_role("spinbutton", name="from").press("Enter")
        page.wait_for_function(
            "(before) => { const titles = [...document.querySelectorAll('.results button')].map((one) => one.title); "
            "return document.querySelector('.results').innerHTML !== before && titles.length "
            "&& titles.every((title) => Number(/faster than (\\d+) %/.exec(title)[1]) >= 79); }",
            arg=before,
        )
        page.get_by_role("spinbutton", name="greatest speed").fill("10")
        page.get_by_role("spinbutton", name="greatest speed").press("Enter")
        page.wait_for_selector("text=the least below the greatest; it says 80 to 10 %")
        page.select_option("select[aria-label=group]", "to the left")
        page.get_by_role("spinbutton", name="greatest speed").fill("")
        page.get_by_role("spinbutton", name="least speed").fill("")
        page.get_by_role("spinbutton", name="from").fill("")
        page.get_by_role("spinbutton", name="from").press("Enter")
        page.wait_for_selector("text=Nothing left under these filters")  # its own members are left out
    finally:
        tiny[0].groups.forget("to the left")


def test_search_in_the_index_of_a_run(browser, runs, tmp_path):
    """All transitions, of which few are mapped; and a group of `wildlam search`, on the map and in Drive."""
    run, videos = shutil.copytree(runs / "tiny", tmp_path / "run"), shutil.copytree(FILMS, tmp_path / "videos")
    with served(AppConfig(run=run, videos=videos, runs=tmp_path, most=20)) as (playground, address):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # where much else is going on
        page.goto(f"{address}/#search")
        page.wait_for_selector(f"text=For all: wildlam search build {run}")
        index = build_search(run=run, data=videos).index
        like = next(one for one in index.nearest(playground.mapped.vectors(playground.mapped.all[:1])[0], 50))
        search(run=run, like=str(like), count=4, save_group="like it")
        page.locator(".thumbs button").nth(2).click()
        page.wait_for_selector(f"text=All {len(index):,} transitions of the run's index are searched.")
        page.wait_for_function(
            "() => [...document.querySelectorAll('section > .results img')].every((one) => one.complete)"
        )
        page.locator(".results button").first.click()
        page.wait_for_selector("select[aria-label=group] option[value='like it']", state="attached")
        page.goto(f"{address}/#map")
        page.wait_for_selector("text=/like it.*5 transitions/")
        page.goto(f"{address}/#drive")
        page.get_by_role("button", name="named groups").click()
        page.get_by_role("button", name="like it", exact=True).click()
        stepped(page)
        page.close()


def test_runs_with_curves_and_pictures(page):
    page.to("runs")
    page.wait_for_selector(".charts svg")
    page.wait_for_selector(".wide")
    assert "step 3300 of 3300" in page.inner_text(".list")
    assert "to be beaten. Held-out videos." in page.inner_text(".charts")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="report", exact=True).click()
    opened.value.wait_for_selector("text=of the run")
    assert opened.value.evaluate("window.origin") == "null"  # of no address, so that it can ask for nothing here


def test_a_run_without_a_decoder_says_so_on_each_page_that_needs_one(browser, without_decoder, runs):
    with served(AppConfig(run=without_decoder, videos=FILMS, runs=runs)) as (_, address):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # where much else is going on
        for part in ("Drive", "Transfer", "Plan"):
            page.goto(f"{address}/#{part.lower()}")
            page.wait_for_selector(f"text={part} needs a decoder")
            assert page.inner_text("code") == f"wildlam decoder train '{without_decoder}'"
            assert not page.locator(".stage, .thumbs").count()
            assert "drive meanwhile" not in page.inner_text("body")
        page.goto(f"{address}/#map")
        page.wait_for_selector(".legend span")
        page.close()


def test_drive_says_whose_decoder_paints(browser, runs, tmp_path):
    run = shutil.copytree(runs / "tiny", tmp_path / "copy", ignore=shutil.ignore_patterns("decoder"))
    with served(AppConfig(run=run, videos=FILMS, runs=runs)) as (_, address):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # where much else is going on
        page.goto(address)
        page.wait_for_selector("text=wildlam-tiny's paints")
        page.close()


def test_files_that_are_no_videos_are_left_out_in_a_line(browser, some_unusable, runs):
    with served(AppConfig(videos=some_unusable, runs=runs)) as (_, address):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # where much else is going on
        refused = []
        page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        for part in ("drive", "transfer", "plan"):
            page.goto(f"{address}/#{part}")
            page.wait_for_selector("text=/2 videos are left out .*a_corrupt.mp4: not a video, or damaged/")
            page.wait_for_selector(".thumbs button[aria-pressed=true]")
            page.wait_for_timeout(500)
            assert not page.locator(".error").count()
        assert not refused
        page.close()


def test_a_run_without_videos_says_what_to_do(browser, tmp_path):
    (tmp_path / "none").mkdir()
    with served(AppConfig(videos=tmp_path / "none", runs=tmp_path)) as (_, address):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # where much else is going on
        for part in ("drive", "map", "search"):
            page.goto(f"{address}/#{part}")
            page.wait_for_selector("text=wildlam app tiny --videos FOLDER")
        page.goto(f"{address}/#runs")
        page.wait_for_selector("text=train one: wildlam train")
        assert page.locator(".card:visible").count() == 1  # none without content
        page.close()
