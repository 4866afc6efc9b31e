"""How many pictures a second the playground's Drive gives, and where the time goes.

    python benchmarks/drive.py --out build/drive.json [--short]

wildlam-tiny in a film that comes with the package, a controller's action a step, on half of the cores, as `wildlam app`
has it: predict, decode and encode as PNG and JPEG, with wildlam-tiny's decoder (64 pixels) and with an untrained one of
the same kind that paints 128, which costs the same as a trained one. The same steps without cached keys and values are
taken in turns. `--page` also times a page: from the start of the process until a browser shows the first dream, and
steps a second with a key held, round trip and all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from common import finish, row

from wildlam.app.library import jpeg, png
from wildlam.app.playground import use_half_of_the_cores
from wildlam.models.decoder import Decoder
from wildlam.pretrained import FILMS, TINY
from wildlam.video.decode import decode_at
from wildlam.workflows.controller import load_controller
from wildlam.workflows.decoder import load_decoder
from wildlam.workflows.drive import Drive, frames_known
from wildlam.workflows.trained import Trained, load

WANTED = 8.0
"""Pictures a second."""
PORT = 7983


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    parser.add_argument("--page", action="store_true", help="time the page, too; needs playwright and Chromium")
    args = parser.parse_args()
    use_half_of_the_cores()
    trained = load("tiny")
    own = load_decoder(TINY, trained.encoder.spec, trained.encoder.device)
    larger = replace(own.config, image_size=128).build(trained.encoder.spec).eval().requires_grad_(False)
    torch.nn.init.normal_(larger.head.weight, std=0.02)  # noise is the dearest to encode
    steps = 24 if args.short else 200
    rows = []
    for side, decoder in ((64, own), (128, larger)):
        rows += parts(trained, decoder, side, steps)
    rows += of_page() if args.page else []
    finish(rows, args.out)


def parts(trained: Trained, decoder: Decoder, side: int, steps: int) -> list[dict]:
    """Milliseconds of each part of a step, and pictures a second of all of them."""
    controller, _ = load_controller(TINY / "controller_arm", trained.encoder, trained.model)
    film, fps = sorted((FILMS / "arm" / "held_out").glob("*.mp4"))[0], trained.config.data.fps
    frames = decode_at(film, [2 + k / fps for k in range(frames_known(trained))], trained.encoder.spec.image_size)
    drive, action = Drive(trained, decoder, frames), torch.zeros(1, len(controller.action_std))
    action[0, 1] = controller.action_std[1]
    took: dict[str, list[float]] = {"control": [], "predict": [], "decode": [], "PNG": [], "JPEG": []}
    uncached = []
    with torch.no_grad():
        for step in range(steps + 5):
            if step % 24 == 23:  # a dream of dozens of steps fades, and its pictures are cheap to encode
                drive.reset()
            times = [time.perf_counter()]
            z = controller.act(action, drive.state[None])[0]
            times.append(time.perf_counter())
            drive.predict(z)
            times.append(time.perf_counter())
            picture = drive.show()
            times.append(time.perf_counter())
            png(picture)
            times.append(time.perf_counter())
            jpeg(picture)
            times.append(time.perf_counter())
            if step >= 5:
                for name, begin, end in zip(took, times, times[1:], strict=False):
                    took[name].append(end - begin)
            if side == 64 and step >= 5:
                taken = drive._actions[-6:]
                states, actions = torch.stack(drive._states[-len(taken) - 1 : -1])[None], torch.stack(taken)[None]
                began = time.perf_counter()
                trained.model.predict(states, actions)
                uncached.append(time.perf_counter() - began)
    name = f"drive, {side} pixels"
    shown = {part: 1e3 * statistics.median(values) for part, values in took.items()}
    rows = [row(f"{name}: {part}", value, "ms") for part, value in shown.items()]
    if uncached:
        rows.append(row(f"{name}: predict from six states without a cache", 1e3 * statistics.median(uncached), "ms"))
    of_steps = [
        sum(parts) for parts in zip(*(took[part] for part in ("control", "predict", "decode", "PNG")), strict=True)
    ]
    rows.append(row(f"{name}: pictures a second", 1 / statistics.mean(of_steps), "1/s", WANTED))
    return rows


def of_page() -> list[dict]:
    """Times of the page in a browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        began = time.perf_counter()
        command = [sys.executable, "-m", "wildlam", "app", "--port", str(PORT)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        try:
            assert process.stdout is not None
            address = next(line for line in process.stdout if line.startswith("playground ")).split()[1]
            while True:
                try:
                    page.goto(address)
                    break
                except Exception:  # it does not answer yet
                    time.sleep(0.05)
            shown = time.perf_counter() - began
            page.wait_for_selector(".stage img:not([hidden])")
            dreamed = time.perf_counter() - began
            page.wait_for_selector(".key .pair")
            keys = time.perf_counter() - began
            page.keyboard.down("a")
            page.wait_for_function("() => document.querySelector('.corner').textContent.startsWith('24 steps')")
            rate = float(page.inner_text(".corner").split("·")[1].split("/")[0])
            page.keyboard.up("a")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            browser.close()
    return [
        row("page: from the start of the process until it is shown", shown, "s", 15.0, at_most=True),
        row("page: until the first dream", dreamed, "s", 15.0, at_most=True),
        row("page: until all keys have their examples", keys, "s"),
        row("page: steps a second with a key held (at most 8)", rate, "1/s"),
    ]


if __name__ == "__main__":
    main()
