// Search: the transitions nearest to a chosen one, by latent action.
import { api, complain, el, fill, pair, picker, state, whenReady } from "./common.js";

const FAR = 0.8;  // distance beyond which a hit has little to do with what is searched

export function show(place, query) {
  const results = el("div", { class: "results" }), note = el("div"), asked = el("div");
  const source = el("select", { "aria-label": "source", onchange: () => search() });
  const group = el("select", { "aria-label": "group", onchange: () => search() });
  const apart = el("input", { type: "checkbox", checked: true, onchange: () => search() });
  let of = null;

  async function choose(one) { of = one; await search(); }
  async function search() {
    if (!of) return;
    try {
      fill(note);
      history.replaceState(null, "", of.number === null ? "#search" : `#search?of=${of.number}`);
      fill(asked, el("div", { style: "max-width:160px" }, pair(of)), el("p", { class: "faint" }, `${of.name}, ${of.start.toFixed(2)} to ${of.end.toFixed(2)} s`),
        el("a", { href: `#drive?video=${of.video}&at=${of.start}` }, "drive from here"));
      const asking = new URLSearchParams({ ...(of.number === null ? { video: of.video, at: of.start } : { of: of.number }), count: 24, ...(source.value ? { source: source.value } : {}), ...(group.value ? { group: group.value } : {}), apart: apart.checked ? "1" : "0" });
      const { found } = await api(`/api/near?${asking}`);
      fill(results, found.map((one) => hit(one)));
      if (!found.length) fill(results, el("p", { class: "empty" }, "Nothing left under these filters; widen them."));
    } catch (error) { complain(note, error); }
  }
  function hit(one) {
    const far = one.distance > FAR;
    return el("button", { class: far ? "far" : null, onclick: () => choose(one), title: `${one.name}: search its like` }, pair(one),
      el("span", {}, `distance ${one.distance.toFixed(2)}${far ? ", hardly alike" : ""}`),
      el("span", { class: "film" }, `${one.name.split("/").at(-1)}, ${one.start.toFixed(2)} s`));
  }
  async function at(video) {
    try { await choose(await api(`/api/transition?video=${encodeURIComponent(video.key)}&at=${video.at}`)); } catch (error) { fill(results); complain(note, error); }
  }
  const from = picker({ chosen: at, pictures: false, large: false });

  place.append(el("div", { class: "columns side" },
    el("section", { class: "card" }, el("h2", {}, "Like this"), asked, el("h2", { style: "margin-top:14px" }, "Choose another"), from.element),
    el("section", { class: "card" }, el("div", { class: "row", style: "margin-bottom:10px" }, el("label", { class: "field" }, "source", source), el("label", { class: "field" }, "group", group),
      el("label", { class: "field" }, apart, "each of another video")), note,
      el("p", { class: "faint" }, `The nearest by latent action. Distance 0: the same direction; 1: unrelated; 2: the opposite. Faded beyond ${FAR}.`), results)));
  let begun = false;
  return whenReady(async () => {
    if (state.error || begun) return;
    if (!state.transitions) {
      return complain(note, new Error(state.videos ? "Transitions can be searched as soon as latent actions are inferred; a moment, please." : state.none));
    }
    begun = true;
    fill(note);
    fill(source, el("option", { value: "" }, "all"), state.sources.map((one) => el("option", { value: one }, one)));
    fill(group, el("option", { value: "" }, "all"), state.groups.map((one) => el("option", { value: one.key }, `${one.name} (${one.size})`)));
    if (query.get("group")) group.value = query.get("group");
    if (query.get("of")) {
      of = { number: Number(query.get("of")) };
      try {
        of = (await api(`/api/transition?number=${of.number}`));
        await from.begin({ key: of.video, at: of.start });
      } catch (error) { complain(note, error); }
    } else await from.begin();
  });
}
