// Transfer: what happens in one video, done to another.
import { api, complain, el, fill, lacksDecoder, picker, state, whenReady, work } from "./common.js";

const WORDS = [
  ["agreement", "Agreement", "1: what is re-inferred from the dream is what was put in; 0: nothing in common"],
  ["effect", "Effect", "how much the dream moves, over how much the target moves by its own actions"],
  ["source", "Error on the source", "of its own latent actions, unrolled on itself"],
  ["cycled", "Error, there and back", "of the actions re-inferred from the dream, unrolled on the source: near the one above if they mean the same"],
  ["copy", "Error of standing still", "what both must beat"],
];

export function show(place) {
  const result = el("div", {}, el("p", { class: "empty" }, "Choose two videos, then press Transfer: what happens in the first is dreamed in the second."));
  const seconds = el("input", { type: "range", min: "0.25", max: "4", step: "0.25", value: "1", "aria-label": "seconds" }), told = el("span", {}, "1 s");
  seconds.addEventListener("input", () => { told.textContent = `${seconds.value} s`; });
  const chosen = {};
  const source = picker({ chosen: (video) => { chosen.source = video; }, time: false, webcam: true, pictures: false });
  const target = picker({ chosen: (video) => { chosen.target = video; }, time: false, webcam: true, pictures: false });
  const go = el("button", { class: "main", onclick: run }, "Transfer");

  async function run() {
    go.disabled = true;
    try {
      if (!chosen.source || !chosen.target) throw new Error("choose a source and a target first");
      const json = { source: chosen.source.key, target: chosen.target.key, seconds: Number(seconds.value) };
      const done = await work(result, api("/api/transfer", { json }));
      const film = `/api/films/${done.film}`;
      fill(result,
        el("video", { src: film, controls: true, autoplay: true, loop: true, muted: true, style: "width:100%;max-width:860px", "aria-label": "source, truth and dream" }),
        el("p", { class: "faint" }, `Left: what happens, in the source. Middle: the target as it really went on. Right: the target, dreamed under the source's actions; its first ${done.known.toFixed(2)} s are known. `,
          el("a", { href: film, download: "transfer.mp4" }, "download")),
        el("div", { class: "scroll" }, el("table", {}, WORDS.map(([key, name, meaning]) => el("tr", {}, el("td", {}, name),
          el("td", { class: "number" }, done.errors[key].toFixed(key === "agreement" || key === "effect" ? 2 : 4)), el("td", { class: "faint" }, meaning))))));
    } catch (error) { complain(result, error); }
    go.disabled = false;
  }

  place.append(el("div", { class: "stack" },
    el("div", { class: "columns two" },
      el("section", { class: "card" }, el("h2", {}, "Source: what happens"), source.element),
      el("section", { class: "card" }, el("h2", {}, "Target: to what"), target.element)),
    el("section", { class: "card stack" },
      el("div", { class: "row" }, go, el("label", { class: "field", style: "flex:1;max-width:340px" }, "after the target's first", seconds, told)), result)));
  return whenReady(async (first) => {
    if (!first || state.error) return;
    if (state.no_decoder) return lacksDecoder(place, "Transfer");
    await Promise.all([source.begin(), target.begin()]);
    const some = (await api("/api/videos")).videos;
    const other = some.find((one) => one.key !== source.picked?.key && one.source === source.picked?.source);
    if (other && target.picked?.key === source.picked?.key) await target.pick(other);  // else somebody has chosen
  }, result);
}
