// Runs: live curves, and what the newest checkpoint predicts of held-out films.
import { api, cancel, complain, el, fill, newest, pause, state, whenReady, work } from "./common.js";

const FIRST = ["loss", "prediction", "held_out/idm", "held_out/permuted", "held_out/zero", "held_out/copy", "penalty"];

function chart(name, points, meaning) {
  const steps = points.map((p) => p[0]), values = points.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...steps), Math.max(...steps), Math.min(...values), Math.max(...values)];
  const at = ([x, y]) => `${(100 * (x - x0)) / (x1 - x0 || 1)},${(100 - (100 * (y - y0)) / (y1 - y0 || 1)).toFixed(2)}`;
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg"), path = document.createElementNS(ns, "path");
  svg.setAttribute("viewBox", "-1 -3 102 106");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}, ${values[0].toPrecision(3)} to ${values.at(-1).toPrecision(3)}`);
  path.setAttribute("d", `M${points.map(at).join("L")}`);
  svg.append(path);
  return el("div", { class: "card" }, el("h2", {}, name, el("span", { class: "faint", style: "float:right;margin:0" }, values.at(-1).toPrecision(4))),
    meaning ? el("p", { class: "faint meaning" }, meaning) : null, svg, el("div", { class: "range" }, el("span", {}, `step ${x0}`), el("span", {}, `${y0.toPrecision(3)} to ${y1.toPrecision(3)}`), el("span", {}, `step ${x1}`)));
}

export function show(place) {
  const list = el("div", { class: "list" }), charts = el("div", { class: "charts" }), pictures = el("div"), card = el("div", { class: "card", hidden: true }, pictures), note = el("div"), title = el("h2", {}, ""), links = el("div", { class: "row" });
  let chosen = null, checkpoint = null, ended = false, busy = false;

  async function predict(key, of) {
    busy = true;
    card.hidden = false;
    try {
      const rows = await work(pictures, api(`/api/runs/pictures?run=${encodeURIComponent(key)}`, { method: "POST" }));
      if (key !== chosen) return;
      fill(pictures, el("h2", {}, `Held-out films, at ${of.replace("_", " ").replace(/ 0+/, " ")}: above the truth, below each state predicted from those before`),
        rows.map((row) => el("div", { class: "scroll" }, el("p", { class: "faint" }, row.name), el("img", { class: "wide", src: `data:image/jpeg;base64,${row.strip}`, alt: `truth and prediction of ${row.name}` }))));
    } catch (error) { if (key === chosen) complain(pictures, error); } finally { busy = false; }
  }

  const refreshes = newest();
  async function refresh() {
    const wanted = refreshes();
    try {
      const told = await api("/api/runs");
      if (!wanted()) return;
      if (!told.runs.length) { card.hidden = true; fill(list, el("p", { class: "empty" }, told.none)); return; }
      if (!told.runs.some((one) => one.key === chosen)) chosen = told.runs[0].key;
      fill(list, told.runs.map((one) => {
        const live = Date.now() / 1000 - one.changed < 60 && one.step < one.steps;
        return el("button", { "aria-pressed": String(one.key === chosen), onclick: () => { cancel(); chosen = one.key; checkpoint = null; fill(pictures); refresh(); } },
          one.name === "." ? told.folder : one.name, el("br"), el("small", {}, one.error ?? `${live ? "training, " : ""}step ${one.step} of ${one.steps}`));
      }));
      const { whole, reports } = told.runs.find((one) => one.key === chosen);
      card.hidden = !whole || !pictures.childNodes.length;
      const { curves, meanings, checkpoint: last } = await api(`/api/runs/curves?run=${encodeURIComponent(chosen)}`);
      if (!wanted()) return;
      const names = Object.keys(curves).sort((a, b) => (FIRST.indexOf(a) + 1 || 99) - (FIRST.indexOf(b) + 1 || 99) || a.localeCompare(b));
      fill(title, chosen);
      const addresses = reports.map((one) => `/api/reports/${one.split("/").map(encodeURIComponent).join("/")}`);
      fill(links, addresses.map((one, i) => el("a", { href: one, target: "_blank" }, reports[i].split("/").at(-2) === chosen.split("/").at(-1) || reports[i] === "report.html" ? "report" : `report of ${reports[i].split("/").at(-2)}`)));
      fill(charts, names.filter((name) => curves[name].length > 1).map((name) => chart(name, curves[name], meanings[name])));
      if (!names.length) fill(charts, el("p", { class: "empty" }, "Nothing is logged yet; curves come with the first steps."));
      fill(note);
      if (last && last !== checkpoint && !busy && state.ready && whole) { checkpoint = last; predict(chosen, last); }
    } catch (error) { if (wanted()) complain(note, error); }
  }

  place.append(el("div", { class: "columns side" }, el("section", { class: "card" }, el("h2", {}, "Runs"), list),
    el("section", { class: "stack" }, title, links, note, card, charts)));
  const ends = whenReady(() => {}, note);
  (async () => { while (!ended) { await refresh(); await pause(3000); } })();
  return () => { ended = true; ends(); };
}
