// Map: every transition a point. Drag to move, wheel or two fingers to zoom, hover to see, click to search, draw a line to
// name a group. A finger does not hover: it sees by a tap and searches by another.
import { api, askName, complain, el, fill, newest, pair, state, whenReady, work } from "./common.js";

const COLOURS = ["#4477dd", "#ee7733", "#22aa88", "#cc3377", "#aa9922", "#7755cc", "#33aacc", "#997755", "#66aa33", "#dd5555", "#8899aa", "#bb66bb"];
const RAMP = [[42, 65, 160], [40, 150, 150], [230, 200, 60]];

function ramp(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), i = Math.min(Math.floor(at), RAMP.length - 2);
  return `rgb(${RAMP[i].map((v, c) => Math.round(v + (RAMP[i + 1][c] - v) * (at - i))).join(" ")})`;
}

export function show(place) {
  const canvas = el("canvas", { tabindex: "0", "aria-label": "map of transitions" }), tip = el("div", { class: "tip", hidden: true });
  const note = el("div"), legend = el("div", { class: "legend" }), groups = el("div", { class: "stack" });
  const colour = el("select", { "aria-label": "colour", onchange: () => { fill(note); paint(); draw(); } });
  const lasso = el("button", { "aria-pressed": "false", onclick: () => { fill(note); const on = lasso.getAttribute("aria-pressed") === "false"; lasso.setAttribute("aria-pressed", String(on)); } }, "draw a line around some");
  const umap = el("button", { onclick: () => load(true) }, "by UMAP");
  const area = el("div", { class: "map" }, canvas, tip);
  const pen = canvas.getContext("2d");
  let data = null, colours = [], zoom = 1, x0 = 0, y0 = 0, drag = null, line = null, hovered = -1, marked = { name: null, numbers: new Set() }, ended = false, frame = 0;
  const held = new Map();  // where pointers are held down

  const side = () => Math.min(canvas.clientWidth, canvas.clientHeight) / 2.5;
  const toScreen = (i) => [canvas.clientWidth / 2 + (data.x[i] - x0) * side() * zoom, canvas.clientHeight / 2 - (data.y[i] - y0) * side() * zoom];

  function paint() {
    const by = colour.value;
    if (by === "source") {
      const of = [...new Set(data.sources)];
      colours = data.video.map((v) => COLOURS[of.indexOf(data.sources[v]) % COLOURS.length]);
      fill(legend, of.map((name, i) => el("span", {}, el("i", { style: `background:${COLOURS[i % COLOURS.length]}` }), name)));
      return;
    }
    const values = by === "change" ? data.change : data.actions[by], known = values.filter((v) => v !== null).sort((a, b) => a - b);
    const low = known[Math.floor(known.length * 0.02)], high = known[Math.floor(known.length * 0.98)] ?? low;
    colours = values.map((v) => (v === null ? "#88888855" : ramp((v - low) / (high - low || 1))));
    fill(legend, el("span", {}, low.toPrecision(2)), el("span", { class: "ramp", style: `background:linear-gradient(90deg, ${[0, 0.5, 1].map(ramp).join(", ")})` }), el("span", {}, high.toPrecision(2)),
      known.length < values.length ? el("span", { class: "faint" }, "grey: not known") : null);
  }

  function draw() {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      if (!data || ended) return;
      const ratio = devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
      canvas.width = width * ratio; canvas.height = height * ratio;
      pen.scale(ratio, ratio);
      const size = Math.max(1.5, Math.min(6, Math.sqrt(zoom) * (data.x.length > 5000 ? 1.6 : 3.2)));
      for (let i = 0; i < data.x.length; i++) {
        const [x, y] = toScreen(i);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        pen.fillStyle = colours[i];
        pen.globalAlpha = marked.name === null || marked.numbers.has(i) ? 1 : 0.15;
        pen.fillRect(x - size / 2, y - size / 2, size, size);
      }
      pen.globalAlpha = 1;
      if (hovered >= 0) {
        const [x, y] = toScreen(hovered);
        pen.strokeStyle = getComputedStyle(canvas).color; pen.lineWidth = 2;
        pen.beginPath(); pen.arc(x, y, 7, 0, 7); pen.stroke();
      }
      if (line) {
        pen.strokeStyle = getComputedStyle(canvas).color; pen.fillStyle = "#8888ff33"; pen.lineWidth = 1.5;
        pen.beginPath(); line.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y))); pen.closePath(); pen.fill(); pen.stroke();
      }
    });
  }

  function nearest(px, py) {
    let found = -1, best = 144;
    for (let i = 0; i < data.x.length; i++) {
      const [x, y] = toScreen(i), d = (x - px) ** 2 + (y - py) ** 2;
      if (d < best) { best = d; found = i; }
    }
    return found;
  }
  const spot = (e) => { const box = canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
  const told = (i) => ({ number: i, video: data.videos[data.video[i]], start: data.start[i], end: data.end[i] });

  canvas.addEventListener("pointerdown", (e) => {
    if (!data) return;
    canvas.setPointerCapture(e.pointerId);
    const at = spot(e);
    held.set(e.pointerId, at);
    if (held.size > 1) { drag = line = null; return draw(); }
    if (lasso.getAttribute("aria-pressed") === "true" || e.shiftKey) line = [at]; else drag = { at, from: [x0, y0], moved: false };
    tip.hidden = true;
    fill(note);
  });
  const apart = ([[ax, ay], [bx, by]]) => Math.hypot(ax - bx, ay - by) || 1;
  canvas.addEventListener("pointermove", (e) => {
    if (!data) return;
    const [px, py] = spot(e);
    const before = apart([...held.values(), [0, 0], [0, 0]]);
    if (held.has(e.pointerId)) held.set(e.pointerId, [px, py]);
    if (held.size > 1) {
      const [a, b] = held.values();
      return zoomAt((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, apart([a, b]) / before);
    }
    if (line) { line.push([px, py]); return draw(); }
    if (drag) {
      const dx = px - drag.at[0], dy = py - drag.at[1];
      if (Math.abs(dx) + Math.abs(dy) > 4) drag.moved = true;
      x0 = drag.from[0] - dx / side() / zoom; y0 = drag.from[1] + dy / side() / zoom;
      return draw();
    }
    see(nearest(px, py), px, py);
  });
  function see(found, px, py) {
    tip.hidden = found < 0;
    if (found === hovered) return;
    hovered = found;
    if (found >= 0) {
      const one = told(found);
      fill(tip, pair(one), `${data.sources[data.video[found]]}, ${one.start.toFixed(2)} s`);
      tip.style.left = `${Math.min(px + 14, canvas.clientWidth - 160)}px`;
      tip.style.top = `${Math.min(py + 14, canvas.clientHeight - 190)}px`;
    }
    draw();
  }
  canvas.addEventListener("pointercancel", (e) => { held.delete(e.pointerId); drag = line = null; draw(); });
  canvas.addEventListener("pointerup", async (e) => {
    held.delete(e.pointerId);
    if (line) { lasso.setAttribute("aria-pressed", "false"); return name(); }
    const clicked = drag && !drag.moved;
    drag = null;
    if (!clicked) return;
    const found = nearest(...spot(e));
    if (e.pointerType === "touch" && found !== hovered) return see(found, ...spot(e));
    if (found >= 0) location.hash = `#search?${new URLSearchParams({ video: told(found).video, at: told(found).start })}`;
  });
  canvas.addEventListener("pointerleave", (e) => { if (e.pointerType !== "touch") see(-1); });
  canvas.addEventListener("wheel", (e) => {
    if (!data) return;
    e.preventDefault();
    zoomAt(...spot(e), Math.exp(-e.deltaY / 400));
  }, { passive: false });
  function zoomAt(px, py, by) {
    const dx = (px - canvas.clientWidth / 2) / side(), dy = (canvas.clientHeight / 2 - py) / side();
    const to = Math.min(Math.max(zoom * by, 0.5), 200);
    x0 += dx / zoom - dx / to; y0 += dy / zoom - dy / to; zoom = to;
    draw();
  }
  canvas.addEventListener("keydown", (e) => {
    const step = 0.2 / zoom, act = { ArrowLeft: () => { x0 -= step; }, ArrowRight: () => { x0 += step; }, ArrowUp: () => { y0 += step; }, ArrowDown: () => { y0 -= step; }, "+": () => { zoom *= 1.3; }, "-": () => { zoom /= 1.3; } }[e.key];
    if (act) { e.preventDefault(); act(); draw(); }
  });

  async function name() {
    const around = line;
    const inside = (px, py) => {
      let odd = false;
      for (let i = 0, j = around.length - 1; i < around.length; j = i++) {
        const [xi, yi] = around[i], [xj, yj] = around[j];
        if (yi > py !== yj > py && px < ((xj - xi) * (py - yi)) / (yj - yi) + xi) odd = !odd;
      }
      return odd;
    };
    const numbers = data.x.map((_, i) => i).filter((i) => inside(...toScreen(i)));
    if (!numbers.length) complain(note, new Error("no transition lies within that line"));
    else {
      await askName(`A name for ${numbers.length === 1 ? "this transition" : `these ${numbers.length} transitions`}`, "", async (given) => {
        const { name } = await api("/api/groups", { json: { name: given, numbers } });
        await list();
        await mark(name);
      });
    }
    line = null;
    draw();
  }

  const marks = newest();
  /** Show which points a group is of; those of all, for null. */
  async function mark(name) {
    const wanted = marks();
    try {
      fill(note);
      const { numbers } = name === null ? { numbers: [] } : await api(`/api/groups/${encodeURIComponent(name)}`);
      if (!wanted()) return;
      marked = { name, numbers: new Set(numbers) };
      tellGroups();
      draw();
    } catch (error) { if (wanted()) complain(note, error); }
  }

  async function list() {
    Object.assign(state, await api("/api/state"));
    tellGroups();
  }
  const count = (one) => `${one.size} transition${one.size === 1 ? "" : "s"}${one.mapped < one.size ? `, ${one.mapped || "none"} of them on this map` : ""}`;
  function tellGroups() {
    fill(groups, state.groups.map((one) => el("div", { class: "row" },
      el("button", { class: "chip", title: "show its points", "aria-pressed": String(one.name === marked.name), onclick: () => mark(one.name === marked.name ? null : one.name) }, one.name), el("span", { class: "faint" }, count(one)),
      el("a", { href: `#drive?${new URLSearchParams({ group: one.name })}` }, "a key in Drive"), el("a", { href: `#search?${new URLSearchParams({ like: one.name })}` }, "search its like"),
      el("a", { href: `#search?${new URLSearchParams({ group: one.name })}` }, "a filter in Search"),
      el("button", { class: "chip", onclick: () => forget(one) }, "forget"))));
    if (!state.groups.length) fill(groups, el("p", { class: "faint" }, "No groups yet. Draw a line around points (or hold Shift) and name them."));
  }
  async function forget(one) {
    if (!confirm(`Forget the group ${one.name}? Its file is removed.`)) return;
    try { await api(`/api/groups/${encodeURIComponent(one.name)}`, { method: "DELETE" }); await mark(null); await list(); } catch (error) { complain(note, error); }
  }

  async function load(by = false) {
    try {
      data = await work(note, api("/api/map", { json: { umap: by } }));
      umap.hidden = by || !state.umap;
      const before = colour.value;
      fill(colour, [["source", "source"], ["change", "how much changes"], ...Object.keys(data.actions).map((one) => [one, one])].map(([value, text]) => el("option", { value }, text)));
      if (before) colour.value = before;
      paint(); draw();
    } catch (error) { complain(note, error); }
  }

  place.append(el("section", { class: "card stack" },
    el("div", { class: "row" }, el("label", { class: "field" }, "colour", colour), legend, el("span", { style: "flex:1" }), lasso, umap), note, area,
    el("p", { class: "faint" }, "Each point is a transition. Drag to move, wheel or two fingers to zoom, hover (or tap) to see it, click (or tap it again) to search its like."), groups));
  addEventListener("resize", draw);
  let begun = false;
  const ends = whenReady(async () => {
    if (state.error) return;
    if (begun) return tellGroups();
    if (!state.transitions) return complain(note, new Error(state.videos ? "The map comes as soon as latent actions are inferred; a moment, please." : state.none));
    begun = true;
    await load();
    await list();
  }, note);
  return () => { ended = true; ends(); removeEventListener("resize", draw); };
}
