// Plan: from a start to a goal with a controller, step by step beside the truth.
import { api, complain, el, fill, frameOf, lacks, lacksDecoder, picker, state, whenReady, work } from "./common.js";

export function show(place) {
  const result = el("div", {}, el("p", { class: "empty" }, "Choose a start. The goal is what is seen some steps later in the same film, or another picture. Then press Plan."));
  const steps = el("input", { type: "range", min: "1", max: "12", step: "1", value: "6", "aria-label": "steps" }), count = el("span", { style: "white-space:nowrap" }, "6");
  const driver = el("select", { "aria-label": "controller" });
  const later = el("button", { class: "chip", "aria-pressed": "true", onclick: () => choose(true) }, "later in this film");
  const other = el("button", { class: "chip", "aria-pressed": "false", onclick: () => choose(false) }, "another picture");
  const goalPicture = el("img", { class: "preview", alt: "goal", hidden: true });
  const go = el("button", { class: "main", onclick: run }, "Plan");
  const chosen = {};
  let same = true;
  const start = picker({ chosen: (video) => { chosen.start = video; suit(video); preview(); } });
  const goal = picker({ chosen: (video) => { chosen.goal = video; } });
  const goalPlace = el("div", { hidden: true }, goal.element);

  function suit(video) {
    const found = state.controllers.find((one) => one.name.includes(video.source));
    if (found) driver.value = found.name;
  }
  const until = () => chosen.start.at + Number(steps.value) / state.fps;
  function preview() {
    count.textContent = `${steps.value} steps, ${(Number(steps.value) / state.fps).toFixed(2)} s`;
    goalPicture.hidden = !(same && chosen.start?.kind === "video");
    if (!goalPicture.hidden) goalPicture.src = frameOf(chosen.start.key, Math.min(until(), chosen.start.seconds - 0.05), 256);
  }
  steps.addEventListener("input", preview);
  async function choose(one) {
    same = one;
    later.setAttribute("aria-pressed", String(same));
    other.setAttribute("aria-pressed", String(!same));
    goalPlace.hidden = same;
    preview();
    if (!same && !chosen.goal) await goal.begin();
  }

  async function run() {
    go.disabled = true;
    try {
      if (!chosen.start) throw new Error("choose a start first");
      if (same && chosen.start.kind === "picture") throw new Error("a picture has no later; choose another picture as the goal");
      if (!same && !chosen.goal) throw new Error("choose a goal first");
      if (same && until() > chosen.start.seconds) throw new Error("the film ends before the goal; start earlier, or plan fewer steps");
      const to = same ? { key: chosen.start.key, at: until() } : chosen.goal;
      const json = { start: chosen.start.key, at: chosen.start.at, goal: to.key, until: to.at, controller: driver.value, steps: Number(steps.value) };
      draw(await work(result, api("/api/plan", { json })), to);
    } catch (error) { complain(result, error); }
    go.disabled = false;
  }

  function draw(done, to) {
    const figure = (src, text, alt) => el("figure", {}, el("img", { src, alt }), text);
    const dreams = done.pictures.map((src, i) => figure(src, i ? `step ${i}` : "start", `dreamed step ${i}`));
    const truth = done.times?.map((at, i) => figure(frameOf(chosen.start.key, at), i ? `${(i / state.fps).toFixed(2)} s` : "start", `true step ${i}`));
    const unit = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(Math.abs(v) < 1 ? 3 : 1));
    fill(result,
      el("h2", {}, "Dreamed under the plan"), el("div", { class: "strip" }, dreams, figure(frameOf(to.key, to.at), "goal", "goal")),
      truth ? [el("h2", { style: "margin-top:12px" }, "Truth"), el("div", { class: "strip" }, truth, figure(frameOf(to.key, to.at), "goal", "goal"))] : null,
      el("p", { class: "faint" }, `Distance to the goal's state, over that of the start: ${done.distances.map((d) => d.toFixed(2)).join(" → ")}`),
      el("div", { class: "scroll" }, el("table", {},
        el("tr", {}, el("th", {}, ""), done.names.map((name, i) => el("th", {}, name, done.words[i] && el("small", {}, `+ ${done.words[i][0]}`, el("br"), `\u2212 ${done.words[i][1]}`)))),
        done.actions.map((one, i) => el("tr", {}, el("td", {}, `step ${i + 1}`), one.map((v) => el("td", { class: "number" }, unit(v))))),
        el("tr", {}, el("th", {}, "planned in all"), done.sums.map((v) => el("th", { style: "text-align:right" }, unit(v)))),
        done.true_sums ? el("tr", {}, el("th", {}, "really done in all"), done.true_sums.map((v) => el("th", { style: "text-align:right" }, unit(v)))) : null)));
  }

  place.append(el("div", { class: "stack" },
    el("div", { class: "columns two" },
      el("section", { class: "card" }, el("h2", {}, "Start"), start.element),
      el("section", { class: "card" }, el("h2", {}, "Goal"), el("div", { class: "row" }, later, other), el("p", {}), goalPicture, goalPlace)),
    el("section", { class: "card stack" },
      el("div", { class: "row" }, go, el("label", { class: "field" }, "with", driver), el("label", { class: "field", style: "flex:1 1 250px;max-width:380px" }, "in", steps, count)), result)));
  return whenReady(async (first) => {
    if (!first || state.error) return;
    if (state.no_decoder) return lacksDecoder(place, "Plan");
    if (!state.controllers.length) {
      return lacks(place, "This run has no controller", "A plan is one of real actions, which a controller gives to the model. Train one in a terminal, on videos with poses or commands:",
        `wildlam controller train ${state.path} --data LABELLED`);
    }
    fill(driver, state.controllers.map((one) => el("option", { value: one.name }, one.title)));
    await start.begin(state.first && { key: state.first, at: 2 });
  }, result);
}
