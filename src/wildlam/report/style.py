"""How pages look, and the little that they do: one style sheet and one script, the same in every page."""

from __future__ import annotations

import base64
import hashlib

CSS = """
:root { color-scheme: light dark; --ink: #24292f; --soft: #5b6570; --paper: #fdfdfb; --line: #dcdfe3; --panel: #f4f5f3;
  --good: #00724f; --bad: #b34700; --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #d8dde3; --soft: #98a2ad; --paper: #15181c; --line: #333a42;
  --panel: #1d2227; --good: #3fc796; --bad: #ff9a57; --mark: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
header, main, footer { padding: 0 1.25rem; min-width: 0; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; overflow-wrap: anywhere;
  text-wrap: balance; }
h2 { display: inline; font-size: 1.3rem; line-height: 1.3; }
h3 { font-size: 1.05rem; line-height: 1.3; margin: 1.75rem 0 .5rem; }
section { border-top: 1px solid var(--line); scroll-margin-top: 3.5rem; }
summary { padding: 1.1rem 0; cursor: pointer; color: var(--soft); }
summary h2 { color: var(--ink); }
details[open] { padding-bottom: 1.5rem; }
p, figcaption, caption { max-width: 46rem; }
.verdict { max-width: 64rem; }
p { margin: 0 0 1rem; }
.subtitle, figcaption, caption, footer, nav { color: var(--soft); font-size: .875rem; line-height: 1.5; }
.subtitle { overflow-wrap: anywhere; }
a { color: var(--mark); text-underline-offset: .2em; }
nav { position: sticky; top: 0; z-index: 2; display: flex; gap: 1.1rem; align-items: center; overflow-x: auto;
  padding: .6rem 1.25rem; background: var(--paper); border-bottom: 1px solid var(--line); white-space: nowrap; }
nav a { color: inherit; text-decoration: none; }
nav a:hover, nav a.here { color: var(--ink); text-decoration: underline; }
nav button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: .3rem; padding: .1rem .6rem; cursor: pointer; }
@media (min-width: 64rem) {
  body { display: grid; grid-template-columns: 15rem minmax(0, 1fr); }
  nav { grid-row: 1 / span 3; top: 0; height: 100vh; flex-direction: column; align-items: flex-start; gap: .55rem;
    overflow: auto; padding: 1.75rem 1.25rem; border-bottom: 0; border-right: 1px solid var(--line);
    white-space: normal; }
  header, main, footer { padding-left: 2.5rem; padding-right: 2.5rem; }
  section { scroll-margin-top: 0; }
}
.verdict { margin: 1rem 0 1.5rem; padding: .9rem 1.2rem; background: var(--panel);
  border-left: .3rem solid var(--soft); }
.verdict strong { display: block; font-size: 1.1rem; }
.verdict.good { border-color: var(--good); } .verdict.good strong { color: var(--good); }
.verdict.bad { border-color: var(--bad); } .verdict.bad strong { color: var(--bad); }
.verdict ul { margin: .3rem 0 0; padding-left: 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem;
  margin: 1.25rem 0 2rem; }
.tile { background: var(--panel); padding: 1rem 1.2rem; border-radius: .4rem; }
.tile strong { display: block; font-size: 2.1rem; line-height: 1.15; letter-spacing: -.02em; }
.tile p { margin: .3rem 0 .5rem; line-height: 1.4; }
.tile small { color: var(--soft); display: block; line-height: 1.4; }
.whisker { display: block; width: 100%; max-width: 22rem; height: 1.5rem; overflow: visible; }
figure { margin: 1.25rem 0; }
.scroll { overflow-x: auto; }
.scroll.before { mask-image: linear-gradient(to right, #0003, #000 2.5rem); }
.scroll.behind { mask-image: linear-gradient(to left, #0003, #000 2.5rem); }
.scroll.before.behind {
  mask-image: linear-gradient(to right, #0003, #000 2.5rem, #000 calc(100% - 2.5rem), #0003); }
img, video { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; width: 100%; min-width: 44rem; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
.films { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .75rem;
  margin: .75rem 0 1.5rem; }
.films figure { margin: 0; }
.films figcaption { font-size: .75rem; line-height: 1.35; margin-top: .25rem; }
.films.moments { grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .3rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 2.5rem; }
.pair > div { min-width: 0; }
.films.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem; }
.films.large video { width: 100%; }
.frames { display: block; overflow: hidden; border-radius: .25rem; }
.frames img { width: calc(var(--n) * 100%); max-width: none; animation: film var(--t) steps(var(--k)) infinite; }
@keyframes film { 75%, 100% { transform: translateX(calc(-100% * var(--k) / var(--n))); } }
.still .frames img, .still .hover span { animation-play-state: paused; }
.group { display: grid; grid-template-columns: 12rem minmax(0, 1fr); gap: .5rem 1.5rem; padding: 1rem 0;
  border-top: 1px solid var(--line); }
.group h3 { margin: 0 0 .3rem; }
.group .films { margin: 0; grid-template-columns: repeat(auto-fill, minmax(6.75rem, 1fr)); }
.group .films, .pair .films { gap: .5rem; }
.pair .films { grid-template-columns: repeat(5, minmax(0, 1fr)); margin-top: .5rem; }
.group p { font-size: .875rem; line-height: 1.45; margin: 0 0 .5rem; color: var(--soft); }
.share { height: .5rem; margin: 0 0 .6rem; background: var(--line); border-radius: .25rem; }
.share i { display: block; height: 100%; background: var(--c); border-radius: inherit; }
.badge { display: inline-block; min-width: 1.5em; text-align: center; border-radius: .25em; background: var(--c);
  color: #fff; font-weight: 700; }
.moment .badge { display: block; border-radius: 0 0 .25rem .25rem; font-size: .75rem; line-height: 1.5; }
.moment .frames { border-radius: .25rem .25rem 0 0; }
@media (max-width: 40rem) { .group { grid-template-columns: minmax(0, 1fr); }
  .films, .group .films { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .4rem; }
  .pair .films { grid-template-columns: repeat(3, minmax(0, 1fr)); } .films.large { grid-template-columns: 1fr; }
  .films figcaption { font-size: .6875rem; } .scroll:not(.wide) > img { min-width: 30rem; } }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.25rem; }
.gallery figure { margin: 0; } .gallery .scroll > img { width: 100%; min-width: 0; }
.map { display: grid; grid-template-columns: minmax(0, 1fr) 12rem; gap: 1.5rem; align-items: start; max-width: 62rem; }
.map svg { width: 100%; height: auto; background: var(--panel); border-radius: .4rem; touch-action: pan-y; }
.map circle.on { stroke: var(--ink); stroke-width: 2; }
.hover { position: sticky; top: 4rem; }
.hover span { display: block; aspect-ratio: 1; background-repeat: no-repeat; border-radius: .3rem;
  background-color: var(--panel); animation: blink 1.2s steps(1) infinite; }
@keyframes blink { 0% { background-position: var(--x0) var(--y); } 50% { background-position: var(--x1) var(--y); } }
.hover p { font-size: .8125rem; line-height: 1.4; margin: .5rem 0 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { .map { grid-template-columns: minmax(0, 1fr); } .hover { max-width: 10rem; } }
table { border-collapse: collapse; margin: 1.25rem 0; font-size: .9375rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; margin-bottom: .5rem; max-width: min(46rem, 100vw - 2.5rem); }
td { white-space: nowrap; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child { text-align: left; min-width: 7rem; overflow-wrap: break-word; }
tbody th { font-weight: 400; color: var(--ink); }
td.best { font-weight: 700; color: var(--good); }
footer { margin-top: 2rem; padding-bottom: 2rem; }
@media (prefers-reduced-motion: reduce) {
  body:not(.moving) .frames img, body:not(.moving) .hover span { animation-play-state: paused; } }
@media print { nav { display: none; } body { display: block; font-size: 10pt; }
  figure, table, .verdict, .group { break-inside: avoid; } }
""".strip()

SCRIPT = """
"use strict";
const all = (css) => [...document.querySelectorAll(css)];
const open = (section) => section?.querySelector("details")?.setAttribute("open", "");
const followed = () => open(document.getElementById(location.hash.slice(1)));
addEventListener("hashchange", followed);
followed();
addEventListener("beforeprint", () => all("section").forEach(open));
const links = new Map(all("nav a").map((a) => [a.hash.slice(1), a]));
const here = () => {
  const passed = all("section").filter((s) => s.getBoundingClientRect().top < innerHeight / 3);
  const now = links.get(passed.at(-1)?.id);
  if (!now || now.classList.contains("here")) return;
  links.forEach((a) => a.classList.toggle("here", a === now));
  now.parentElement.scrollTo({ left: now.offsetLeft - innerWidth / 3 });
};
addEventListener("scroll", here, { passive: true });
here();

// A shadow at the edges behind which there is more.
const edges = (box) => {
  box.classList.toggle("before", box.scrollLeft > 2);
  box.classList.toggle("behind", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
};
const sized = new ResizeObserver((some) => some.forEach((one) => edges(one.target)));
all(".scroll").forEach((box) => {
  sized.observe(box);
  box.addEventListener("scroll", () => edges(box), { passive: true });
});

const button = document.querySelector("nav button");
let moving = !matchMedia("(prefers-reduced-motion: reduce)").matches;
const move = () => {
  document.body.classList.toggle("still", !moving);
  document.body.classList.toggle("moving", moving);
  all("video[loop]").forEach((v) => (moving && v.autoplay ? v.play().catch(() => {}) : v.pause()));
  if (button) button.textContent = moving ? "Pause films" : "Play films";
};
button?.addEventListener("click", () => { moving = !moving; move(); });
if (!moving) move();

for (const map of all(".map")) {
  const points = [...map.querySelectorAll("circle[data-at]")], film = map.querySelector(".hover span");
  const words = map.querySelector(".hover p"), svg = map.querySelector("svg");
  const show = (point) => {
    points.forEach((p) => p.classList.toggle("on", p === point));
    const [row, column] = point.dataset.at.split(" ").map(Number), { rows, columns } = film.dataset;
    const place = (k, of) => (of > 1 ? (100 * k) / (of - 1) : 0) + "%";
    film.style.setProperty("--y", place(row, rows));
    film.style.setProperty("--x0", place(column, columns));
    film.style.setProperty("--x1", place(column + 1, columns));
    words.textContent = point.textContent;
  };
  for (const what of ["pointermove", "pointerdown"]) svg.addEventListener(what, (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const far = (p) => Math.hypot(p.cx.baseVal.value - at.x, p.cy.baseVal.value - at.y);
    show(points.reduce((best, p) => (far(p) < far(best) ? p : best)));
  });
  if (points.length) show(points[0]);
}
""".strip()

POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
)
"""Content security policy of a page: nothing is fetched, and no other script runs."""
