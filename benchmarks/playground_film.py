"""The film of the playground that the docs show, docs/images/playground.webp: a browser drives, transfers, plans, looks

    python benchmarks/playground_film.py [--out docs/images/playground.webp]

Starts `wildlam app` (wildlam-tiny and the films that come with it), opens it in Chromium by playwright and takes a
picture of the page a quarter of a second at a time. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

PORT = 7984
SIZE = (1180, 720)
SHOWN = (885, 540)
FPS = 4
MOST = 3_000_000
"""Bytes of the film."""


class Film:
    """Pictures of a page."""

    def __init__(self, page: Any) -> None:
        self.page, self.frames = page, []

    def shoot(self, count: int = 1) -> None:
        for _ in range(count):
            shot = Image.open(io.BytesIO(self.page.screenshot()))
            self.frames.append(shot.convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS))

    def save(self, path: Path) -> None:
        for quality in (70, 60, 50, 40, 30):
            first, *rest = self.frames
            first.save(path, save_all=True, append_images=rest, duration=1000 // FPS, loop=0, quality=quality, method=4)
            if path.stat().st_size <= MOST:
                break
        seconds = len(self.frames) / FPS
        print(f"{path}: {seconds:.0f} s, {path.stat().st_size / 1e6:.1f} MB, quality {quality}")


@contextmanager
def playground() -> Iterator[str]:
    """A playground of its own, and its address."""
    command = [sys.executable, "-m", "wildlam", "app", "--port", str(PORT)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        yield next(line for line in process.stdout if line.startswith("playground ")).split()[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def drive(film: Film) -> None:
    page = film.page
    page.wait_for_selector(".key .pair")
    page.wait_for_timeout(1500)
    film.shoot(4)
    for letter in "adw":
        for _ in range(8):
            page.keyboard.press(letter)
            page.wait_for_timeout(150)
            film.shoot()
        page.get_by_role("button", name="reset").click()
        page.wait_for_timeout(150)
    page.get_by_role("button", name="found actions").click()
    page.wait_for_timeout(800)
    film.shoot(2)
    for _ in range(6):
        page.locator(".key").nth(7).click()
        page.wait_for_timeout(150)
        film.shoot()


def transfer(film: Film) -> None:
    page = film.page
    page.goto(page.url.split("#")[0] + "#transfer")
    page.wait_for_selector(".thumbs button[aria-pressed=true]")
    page.wait_for_timeout(1500)
    film.shoot(3)
    page.get_by_role("button", name="Transfer").click()
    page.wait_for_function("() => document.querySelector('#page video')?.videoWidth > 0")
    page.locator("#page video").scroll_into_view_if_needed()
    for _ in range(9):
        film.shoot()
        page.wait_for_timeout(100)


def plan(film: Film) -> None:
    page = film.page
    page.goto(page.url.split("#")[0] + "#plan")
    page.wait_for_selector(".preview:not([hidden])")
    page.wait_for_timeout(1500)
    film.shoot(3)
    page.get_by_role("button", name="Plan").click()
    page.wait_for_selector(".strip")
    page.locator("table").scroll_into_view_if_needed()
    page.wait_for_timeout(800)
    film.shoot(10)


def look(film: Film) -> None:
    page = film.page
    page.goto(page.url.split("#")[0] + "#map")
    page.wait_for_selector(".legend span")
    page.wait_for_timeout(500)
    box = page.locator("canvas").bounding_box()
    for i in range(14):
        page.mouse.move(box["x"] + (0.42 + 0.012 * i) * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_timeout(250)
        film.shoot()
    page.goto(page.url.split("#")[0] + "#search?of=40")
    page.wait_for_selector(".results button")
    page.wait_for_timeout(1200)
    film.shoot(8)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/playground.webp"))
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playground() as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.set_default_timeout(120_000)
        page.goto(address)
        film = Film(page)
        for part in (drive, transfer, plan, look):
            part(film)
        browser.close()
    film.save(args.out)


if __name__ == "__main__":
    main()
