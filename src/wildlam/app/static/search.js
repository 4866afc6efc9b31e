// Search: the transitions nearest to a chosen one, by latent action.
import { api, complain, el, fill, newest, pair, picker, state, whenReady } from "./common.js";

const FAR = 0.8;  // distance beyond which a hit has little to do with what is searched

export function show(place, query) {
  const results = el("div", { class: "results" }), far = el("details", { hidden: true }), note = el("div"), asked = el("div"), searched = el("p", { class: "faint" });
  const source = el("select", { "aria-label": "source", onchange: () => search() });
  const group = el("select", { "aria-label": "group", onchange: () => search() });
  const apart = el("input", { type: "checkbox", checked: true, onchange: () => search() });
  const figure = (name, max, step, placeholder) => el("input", { type: "number", min: "0", max, step, placeholder, "aria-label": name, onchange: () => search() });
  const faster = figure("least speed", "100", "5", "0"), slower = figure("greatest speed", "100", "5", "100");
  const after = figure("from", "100000", "any", "0"), before = figure("until", "100000", "any", "end");
  let of = null;  // { like: a group's name }, or a transition: { video, name, start, end }

  function filters() {
    const [least, greatest] = [Number(faster.value || 0), Number(slower.value || 100)];
    if (!(least >= 0 && least < greatest && greatest <= 100)) throw new Error(`speed goes from 0 to 100 %, the least below the greatest; it says ${least} to ${greatest} %`);
    const share = (one) => one.value && Number(one.value) / 100;
    const given = { source: source.value, group: group.value, min_speed: share(faster), max_speed: share(slower), after: after.value, before: before.value };
    return { ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== "")), apart: apart.checked ? "1" : "0" };
  }
  const example = () => new URLSearchParams(of.like ? { like: of.like } : { video: of.video, at: of.start });

  function tellAsked() {
    if (of.like) return fill(asked, el("p", {}, "the group ", el("strong", {}, of.like)), el("p", { class: "faint" }, "The mean direction of its transitions, or of parts of them that point apart; they themselves are left out."));
    return fill(asked, el("div", { style: "max-width:160px" }, pair(of)), el("p", { class: "faint" }, `${of.name}, ${of.start.toFixed(2)} to ${of.end.toFixed(2)} s`),
      el("a", { href: `#drive?video=${of.video}&at=${of.start}` }, "drive from here"));
  }
  async function choose(one) { of = one; await search(); }
  const searches = newest(), picks = newest();
  async function search() {
    if (!of) return;
    const wanted = searches();
    try {
      fill(note);
      history.replaceState(null, "", `#search?${example()}`);
      tellAsked();
      const found = await api(`/api/near?${new URLSearchParams([...example(), ...Object.entries({ ...filters(), count: 24 })])}`);
      if (!wanted()) return;
      searched.textContent = found.searched;
      const near = found.found.filter((one) => one.distance <= FAR), rest = found.found.slice(near.length);
      fill(results, near.map(hit));
      fill(far, rest.length ? [el("summary", {}, near.length ? `${rest.length} more, hardly alike` : `The nearest ${rest.length} are hardly alike`), el("div", { class: "results" }, rest.map(hit))] : null);
      far.hidden = !rest.length;
      far.open = !near.length;
      if (!found.found.length) fill(results, el("p", { class: "empty" }, "Nothing left under these filters; widen them."));
    } catch (error) { if (wanted()) { fill(results); far.hidden = true; complain(note, error); } }
  }
  function hit(one) {
    return el("button", { onclick: () => { picks(); choose(one); }, title: `${one.name}, faster than ${Math.round(100 * one.rank)} % of all: search its like` }, pair(one),
      el("span", {}, `distance ${one.distance.toFixed(2)}`),
      el("span", { class: "film" }, `${one.name.split("/").at(-1)}, ${one.start.toFixed(2)} s`));
  }
  async function at(video) {
    const wanted = picks();
    try {
      const found = await api(`/api/transition?video=${encodeURIComponent(video.key)}&at=${video.at}`);
      if (wanted()) await choose(found);
    } catch (error) { if (wanted()) { fill(results); complain(note, error); } }
  }
  const from = picker({ chosen: at, pictures: false, large: false });
  const field = (...parts) => el("label", { class: "field" }, ...parts);

  place.append(el("div", { class: "columns side" },
    el("section", { class: "card" }, el("h2", {}, "Like this"), asked, el("h2", { style: "margin-top:14px" }, "Choose another"), from.element),
    el("section", { class: "card" },
      el("div", { class: "row filters" }, field("source", source), field("group", group),
        el("span", { class: "field", title: "share of all transitions that are slower" }, "speed", faster, "to", slower, "%"),
        el("span", { class: "field", title: "seconds of the video" }, "seconds", after, "to", before),
        field(apart, "at most one per video")), note, searched,
      el("p", { class: "faint" }, `The nearest by latent action. Distance 0: the same direction; 1: unrelated; 2: the opposite. Beyond ${FAR} they are hardly alike.`), results, far)));

  function choices(select, all) {
    const before = select.value;
    fill(select, el("option", { value: "" }, "all"), all.map(([value, text]) => el("option", { value }, text)));
    select.value = all.some(([value]) => value === before) ? before : "";
  }
  let begun = false;
  return whenReady(async () => {
    if (state.error) return;
    if (!state.transitions && !state.indexed) {
      return complain(note, new Error(state.videos ? "Transitions can be searched as soon as latent actions are inferred; a moment, please." : state.none));
    }
    choices(source, state.sources.map((one) => [one, one]));
    choices(group, state.groups.map((one) => [one.name, `${one.name} (${one.size})`]));
    if (begun) return;
    begun = true;
    fill(note);
    if (query.get("group")) group.value = query.get("group");
    if (query.get("like")) {
      await from.begin(null, false);
      await choose({ like: query.get("like") });
    } else await from.begin(query.get("video") && { key: query.get("video"), at: Number(query.get("at")) });
  }, note);
}
