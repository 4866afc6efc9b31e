// Drive: hold a key, see what the world model dreams.
import { askName, complain, el, fill, frameOf, lacksDecoder, pair, pause, picker, state, whenReady, api } from "./common.js";

const PACE = 1000 / 8;  // milliseconds of a step, at the fastest

/** A label whose number and sign stay on the line of what they belong to. */
const together = (label) => label.replace(/ (?=\S{1,2}( |$))/g, "\u00a0");

export function show(place, query) {
  const picture = el("img", { alt: "what the world model dreams", hidden: true });
  const corner = el("span", { class: "corner", hidden: true });
  const painted = el("span", { class: "corner low", hidden: true }, "as the model paints it");
  const nothing = el("p", {}, "Nothing to start from yet");
  const stage = el("div", { class: "stage nothing" }, nothing, picture, corner, painted);
  const real = el("img", { alt: "the frame that the drive starts from" });
  const painter = el("p", { class: "faint", hidden: true });
  const beside = el("div", { class: "beside", hidden: true }, el("figure", {}, real, el("figcaption", {}, "the frame")),
    el("p", { class: "faint" }, "The model sees and dreams states, not pixels. What is blurred at the start already is its decoder's doing, not the dream's."));
  const note = el("div"), film = el("section", { class: "card film", hidden: true }), tabs = el("div", { class: "row" }), keys = el("div", { class: "keys" });
  const hint = el("p", { class: "faint" }, "The model is being loaded …");
  const strength = el("input", { type: "range", min: "0", max: "3", step: "0.25", value: "1", "aria-label": "strength" });
  const strong = el("span", {}, "1");
  let socket = null, waiting = null, sets = [], chosen = null, started = false, ended = false, stepping = false;
  let source = null, taken = false;  // the films' set, and whether somebody chose the keys
  let tapped = null;  // a key that was pressed during a step
  let group = query.get("group");  // whose key is to be shown
  const holders = new Map();  // what holds a key down, a pointer or one of the keyboard, and which
  const times = [];
  const held = () => [...new Set(holders.values())];

  const strengthens = el("label", { class: "field", style: "flex:1 1 170px" }, "strength", strength, strong);

  strength.addEventListener("input", () => { strong.textContent = strength.value; });

  /** Ask the drive for something; one thing at a time. */
  async function ask(request) {
    while (waiting) await waiting.catch(() => {});
    if (!socket || socket.readyState > 1) {
      started = false;
      socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/drive`);
      await new Promise((done, failed) => { socket.onopen = done; socket.onerror = () => failed(new Error("the playground does not answer; is it still running in the terminal?")); });
    }
    const asked = waiting = new Promise((done, failed) => {
      socket.onmessage = (event) => {
        const told = JSON.parse(event.data);
        if (told.error) failed(new Error(told.error)); else done(told);
      };
      socket.onclose = () => { started = false; failed(new Error("the playground has ended; start it again in the terminal")); };
      socket.send(JSON.stringify(request));
    });
    try { return await asked; } finally { waiting = null; }
  }

  function draw(told) {
    picture.src = told.picture;
    picture.hidden = corner.hidden = false;
    nothing.hidden = true;
    stage.classList.remove("nothing");
    painted.hidden = told.steps > 0;
    const span = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : 0;
    corner.textContent = told.steps ? `${told.steps} step${told.steps > 1 ? "s" : ""}${span ? ` · ${(1000 / span).toFixed(1)}/s` : ""}` : "start";
  }

  async function act(request) {
    try {
      fill(note);
      if (!started) return await begin();
      draw(await ask(request));
    } catch (error) { complain(note, error); }
  }

  /** Begin at the picture that is chosen; again, where the drive was lost with the playground. */
  async function begin() {
    const video = start_.picked;
    if (!video) throw new Error("choose a picture to start from");
    times.length = 0;
    draw(await ask({ do: "start", video: video.key, at: video.at }));
    if (video.source !== source) taken = false;  // another world's keys may be none of this one's
    source = video.source;
    real.src = frameOf(video.key, video.at, 192);
    beside.hidden = false;
    await tellKeys();
    started = true;
  }

  async function start() {
    try {
      fill(note);
      drop();
      await begin();
      fill(hint, "Hold a key, on the keyboard or here, and the model dreams on. ", el("span", { class: "roomy" }, "The small pictures are real transitions that are most alike. "),
        "A small model's dream fades within some steps, soonest where the camera moves: reset, or go back.");
    } catch (error) { complain(note, error); }
  }

  async function tellKeys() {
    const told = await ask({ do: "keys" });
    sets = told.sets;
    const kept = taken && sets.find((one) => one.key === chosen?.key);
    const asked = group && sets.find((one) => one.keys.some((key) => key.key === `group:${group}`));
    if (asked) { group = null; taken = true; }
    choose(asked || kept || sets[0], told.gathering);
  }

  function choose(set, gathering = false) {
    const same = set?.key === chosen?.key;  // told again, as after new examples: what is held down goes on
    for (const [by, key] of holders) if (!same || !set?.keys.some((one) => one.key === key)) holders.delete(by);
    if (!holders.size) times.length = 0;
    chosen = set ?? null;
    strengthens.hidden = set?.scales === false;
    fill(tabs, ...sets.map((one) => el("button", { class: "chip", "aria-pressed": String(one === chosen), onclick: () => { taken = true; choose(one); } }, one.title)));
    if (!set) {
      fill(keys, el("p", { class: "faint" }, gathering ? "Keys come as soon as latent actions are inferred." : `No keys: ${state.none || "the run has no controller"}`));
      return;
    }
    fill(keys, ...set.keys.map(button));
    mark();
  }

  function button(key) {
    const rename = key.renames && el("button", { title: "give it a name", "aria-label": `rename ${key.label}`, onpointerdown: (e) => e.stopPropagation(), onclick: (e) => { e.stopPropagation(); name(key); } }, "✎");
    const made = el("div", { class: "key", role: "button", tabindex: "0", "data-key": key.key, "aria-label": key.label,
      onpointerdown: (e) => press(key, e.pointerId),
      onkeydown: (e) => { if (e.key === "Enter" && !e.repeat && e.target === made) press(key, e.code); } },
    el("div", { class: "name" }, key.letter ? el("kbd", {}, key.letter === " " ? "space" : key.letter.toUpperCase()) : null, el("span", {}, together(key.label)), rename || null),
    key.examples.length ? el("div", { class: "examples" }, key.examples.map(pair)) : null);
    return made;
  }

  function name(key) {
    askName("A name for this action", key.label, async (given) => {
      await api("/api/names", { json: { key: key.key, name: given } });
      await tellKeys();
    });
  }

  function mark() {
    const down = held();
    for (const one of keys.querySelectorAll(".key")) one.classList.toggle("down", down.includes(one.dataset.key));
  }
  function press(key, by) {
    holders.delete(by);  // so that what is pressed last stands last
    holders.set(by, key.key);
    if (stepping) tapped = key.key;
    mark();
    go(key);
  }
  function release(by) {
    if (!holders.delete(by)) return;
    mark();
    if (!holders.size) times.length = 0;
  }
  function releaseAll() { holders.clear(); times.length = 0; mark(); }

  /** Take steps as long as a key is held, and one at least, also of a key that is pressed and let go during a step. */
  async function go(first) {
    if (stepping || !start_.picked) return;
    stepping = true;
    let pressed = [first.key];
    try {
      fill(note);
      if (!started) await begin();
      if (!chosen?.keys.some((one) => one.key === first.key)) throw new Error("the keys are others now; press one again");
      do {
        const began = performance.now();
        const names = chosen.joins ? pressed : [pressed.at(-1)];
        const told = await ask({ do: "step", set: chosen.key, keys: names, strength: Number(strength.value) });
        times.push(performance.now());
        if (times.length > 9) times.shift();
        draw(told);
        await pause(Math.max(0, PACE - (performance.now() - began)));
        pressed = held();
        if (!pressed.length && tapped && chosen?.keys.some((one) => one.key === tapped)) pressed = [tapped];
        tapped = null;
      } while (pressed.length && !ended);
    } catch (error) { complain(note, error); releaseAll(); tapped = null; }
    stepping = false;
  }

  const typing = (e) => e.target.closest("dialog, select") || e.ctrlKey || e.metaKey || e.altKey;
  const keyOf = (e) => chosen?.keys.find((one) => one.letter && one.letter === e.key.toLowerCase());
  const down = (e) => {
    if (typing(e)) return;
    const key = keyOf(e);
    if (key) { e.preventDefault(); if (!e.repeat) press(key, e.code); }
    else if (e.key === "Backspace") { e.preventDefault(); act({ do: "back" }); }
  };
  const up = (e) => release(e.code ?? e.pointerId);  // wherever it is let go: its button may be another by then
  const heard = { keydown: down, keyup: up, pointerup: up, pointercancel: up };
  for (const [name, told] of Object.entries(heard)) document.addEventListener(name, told);
  addEventListener("blur", releaseAll);

  const start_ = picker({ chosen: start, large: false });
  stage.addEventListener("dragover", (e) => { e.preventDefault(); stage.classList.add("over"); });
  stage.addEventListener("dragleave", () => stage.classList.remove("over"));
  stage.addEventListener("drop", (e) => {
    e.preventDefault(); stage.classList.remove("over");
    if (e.dataTransfer.files[0]) start_.bring(e.dataTransfer.files[0]);
  });

  function drop() { film.hidden = true; fill(film); }
  async function save() {
    try {
      const told = await ask({ do: "save" }), source = `/api/films/${told.film}`;
      const inSight = () => film.scrollIntoView({ block: "nearest", behavior: "smooth" });
      fill(film, el("video", { src: source, controls: true, autoplay: true, loop: true, muted: true, "aria-label": "the drive as a film", onloadedmetadata: inSight }),
        el("div", { class: "row" }, el("a", { href: source, download: "drive.mp4" }, "download drive.mp4"), el("button", { class: "chip", onclick: drop }, "close")));
      film.hidden = false;
    } catch (error) { complain(note, error); }
  }

  place.append(el("div", { class: "columns drive" },
    el("section", { class: "card start" }, el("h2", {}, "1. Start from"), start_.element,
      el("p", { class: "faint" }, "Or drop a picture of your own onto the dream.")),
    el("div", { class: "stack middle" }, el("section", { class: "card dream" }, stage, beside, painter,
      el("div", { class: "row controls" },
        el("button", { title: "Backspace", onclick: () => act({ do: "back" }) }, "← back"),
        el("button", { onclick: () => { times.length = 0; drop(); act({ do: "reset" }); } }, "reset"),
        el("button", { onclick: save }, "save film"),
        strengthens),
      note), film),
    el("section", { class: "card" }, el("h2", {}, "2. Hold a key"), hint, tabs, keys)));

  const ends = whenReady(async (first) => {
    if (state.error) return;
    if (state.no_decoder) return lacksDecoder(place, "Drive");
    if (first) {
      painter.hidden = !state.borrowed;
      fill(painter, "This run has no decoder of its own: wildlam-tiny's paints, which has not seen these videos. One that learns them: ", el("code", {}, `wildlam decoder train ${state.path}`));
      hint.textContent = state.videos ? "" : "Bring a picture or a video to start from.";
      const wanted = query.get("video");
      if (wanted) await start_.begin({ key: wanted, at: Number(query.get("at") ?? 0) });
      else await start_.begin(state.first && { key: state.first, at: null });
    } else if (started) await tellKeys();
  }, note);
  return () => {
    ended = true;
    ends();
    socket?.close();
    for (const [name, told] of Object.entries(heard)) document.removeEventListener(name, told);
    removeEventListener("blur", releaseAll);
  };
}
