// What the pages share: elements, requests, jobs with their bars, and the picker of videos.

export const state = {};
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** An element; text is only ever text. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return parent;
}

export async function api(path, { method = "GET", json, body } = {}) {
  let answer;
  try {
    answer = await fetch(path, { method: json || body ? "POST" : method, body: json ? JSON.stringify(json) : body });
  } catch { throw new Error("the playground does not answer; is it still running in the terminal?"); }
  const told = answer.headers.get("content-type")?.includes("json") ? await answer.json() : {};
  if (!answer.ok || told.error && !told.key) throw new Error(told.error || `it answered ${answer.status}; the terminal says more`);
  return told;
}

/** Makes tests of whether a call is still the newest: where answers overlap, one to an older question is not told. */
export function newest() {
  let calls = 0;
  return () => { const own = ++calls; return () => own === calls; };
}

export function bar(share) {
  const inner = el("i");
  if (share !== null && share !== undefined) inner.style.width = `${Math.round(100 * share)}%`;
  return el("div", { class: share === null || share === undefined ? "bar unknown" : "bar", role: "progressbar" }, inner);
}

const asking = new Set();  // the jobs that this page waits for
let turn = 0;

/** Cancel what this page waits for: it is left, or asks for something else. */
export function cancel() {
  turn++;
  for (const key of asking) drop(key);
}
function drop(key) {
  asking.delete(key);
  fetch(`/api/jobs/${key}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

const about = (left) => (left ? `, about ${Math.ceil(left)} s left` : "");
function waits({ title, behind: [first, ...more] }) {
  if (!first) return `${title}: begins`;
  return `${title}: waits behind ${first.title}${about(first.left)}${more.length ? `, and ${more.length} more` : ""}`;
}

/** Wait for a job, with a bar in `place`; its result, or an error. What was asked for before is cancelled. */
export async function work(place, asked) {
  cancel();
  const own = turn, given = new Error("cancelled");
  let stopped = false, job = await asked;
  asking.add(job.key);
  const text = el("p", { class: "faint" }), stop = el("button", { class: "chip", onclick: () => { stopped = true; cancel(); } }, "Cancel");
  const line = el("div", { class: "row" }, text, stop);
  while (job.state === "waiting" || job.state === "running") {
    if (own === turn) {
      text.textContent = job.state === "waiting" ? waits(job) : `${job.title}${about(job.left)}`;
      stop.textContent = job.stoppable ? "Cancel" : "Stop waiting";
      if (line.parentElement !== place) fill(place, line);
      fill(place, line, bar(job.share));
      await pause(250);
    }
    if (own !== turn) break;
    job = await api(`/api/jobs/${job.key}`);
  }
  if (own !== turn) {
    drop(job.key);
    if (stopped) fill(place, el("p", { class: "faint" }, job.stoppable ? "Cancelled." : `Still ${job.title}, which cannot be stopped: it goes on by itself. Ask again to see it.`));
    throw Object.assign(given, { quiet: true });
  }
  asking.delete(job.key);
  fill(place);
  if (job.state !== "done") throw new Error(job.error || "cancelled; ask for it again");
  return job.result;
}

/** What a page shows where the run lacks something: what, and the command that makes it. */
export function lacks(place, title, why, command) {
  fill(place, el("section", { class: "card empty" }, el("h2", {}, title), el("p", {}, why),
    el("p", {}, el("code", {}, command)), el("p", {}, "Then start the playground again.")));
}
export const lacksDecoder = (place, page) => lacks(place, `${page} needs a decoder`, `${state.no_decoder}. A decoder paints what the model dreams; Map, Search and Runs do without one. Train it in a terminal:`, `wildlam decoder train ${state.path}`);

/** Show an error, but for that of work which was cancelled here. */
export const complain = (place, error) => error.quiet || fill(place, el("p", { class: "error", role: "alert" }, error.message));

/** Ask for a name until `save` takes it, or nobody wants one; what is wrong with one is said beside it. */
export function askName(title, before, save) {
  const input = el("input", { type: "text", value: before, maxlength: "40", "aria-label": "name" }), note = el("div");
  const submit = async (event) => {
    event.preventDefault();
    try { await save(input.value); dialog.close(); } catch (error) { complain(note, error); }
  };
  const dialog = el("dialog", {}, el("form", { class: "stack", onsubmit: submit }, el("label", { class: "stack" }, title, input), note,
    el("div", { class: "row" }, el("button", { class: "main" }, "Save"), el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  document.body.append(dialog);
  dialog.showModal();
  input.select();
  return new Promise((done) => dialog.addEventListener("close", () => { dialog.remove(); done(); }));
}

export const frameOf = (key, at = 0, side = 128) => `/api/videos/${encodeURIComponent(key)}/frame?at=${at}&side=${side}`;

/** The two frames of a transition, in turns. */
export function pair(one) {
  return el("span", { class: "pair" },
    el("img", { src: frameOf(one.video, one.start), alt: "before", loading: "lazy" }),
    el("img", { src: frameOf(one.video, one.end), alt: "after", loading: "lazy" }));
}

export async function upload(file) {
  return api(`/api/uploads?name=${encodeURIComponent(file.name ?? "webcam.webm")}`, { body: file });
}

/**
 * A picker of a video, and of a time in it: `chosen({key, name, seconds, at})` is called when either changes.
 * `webcam`: offer to record a clip. `time`: let a time be chosen. `pictures`: take pictures, too.
 */
export function picker({ chosen, time = true, webcam = false, pictures = true, source = null, large = true }) {
  const thumbs = el("div", { class: "thumbs" }), chips = el("div", { class: "row" }), note = el("div"), without = el("p", { class: "faint" });
  const preview = el("img", { class: "preview", alt: "chosen frame", hidden: true });
  const slider = el("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0", "aria-label": "time" });
  const clock = el("span", { class: "faint" });
  const timing = el("div", { class: "row", hidden: true }, slider, clock);
  const more = el("button", { class: "chip", hidden: true, onclick: () => list(true) }, "more");
  let of = source, next = 0, picked = null, wait = null;

  const tell = (now) => {
    clock.textContent = `${Number(slider.value).toFixed(2)} s`;
    clearTimeout(wait);
    wait = setTimeout(() => {
      picked.at = Number(slider.value);
      preview.src = frameOf(picked.key, picked.at, 256);
      chosen({ ...picked });
    }, now ? 0 : 180);
  };
  slider.addEventListener("input", () => tell(false));

  const picks = newest(), lists = newest();
  async function pick(video, at = null) {
    const wanted = picks();
    try {
      const found = await api(`/api/videos/${video.key}`);
      if (!wanted()) return;
      picked = { ...found };
      const moves = picked.kind === "video" && time;
      slider.max = String(Math.max(picked.seconds - 0.3, 0));
      slider.value = String(at ?? (moves ? picked.clear : 0));
      timing.hidden = !moves;
      preview.hidden = !large;
      for (const one of thumbs.children) one.setAttribute("aria-pressed", one.dataset.key === video.key);
      fill(note);
      tell(true);
    } catch (error) { if (wanted()) complain(note, error); }
  }

  function thumb(video) {
    return el("button", { "data-key": video.key, title: video.name, "aria-label": video.name, onclick: () => pick(video) },
      el("img", { src: frameOf(video.key, Math.min(0.5, video.seconds / 2), 96), alt: "", loading: "lazy" }));
  }

  async function list(further = false) {
    const query = new URLSearchParams({ first: further ? next : 0, ...(of ? { source: of } : {}) }), wanted = lists();
    try {
      const found = await api(`/api/videos?${query}`);
      if (!wanted()) return [];
      if (!further) fill(thumbs);
      thumbs.append(...found.videos.map(thumb));
      next = found.next;
      more.hidden = next === null;
      fill(without, found.left_out || null);
      return found.videos;
    } catch (error) { if (wanted()) complain(note, error); return []; }
  }

  async function bring(file) {
    fill(note, el("p", { class: "faint" }, `sending ${file.name ?? "the clip"}`), bar(null));
    try {
      const brought = await upload(file);
      if (!pictures && brought.kind === "picture") throw new Error(`${brought.name} is a picture; bring a video`);
      thumbs.prepend(thumb(brought));
      await pick(brought);
    } catch (error) { complain(note, error); }
  }

  async function record(button) {
    if (!navigator.mediaDevices?.getUserMedia) return complain(note, new Error("this browser gives no camera here; open the page as localhost"));
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } });
    } catch (error) { return complain(note, new Error(`no camera: ${error.message}`)); }
    const parts = [], recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    const ended = new Promise((done) => { recorder.onstop = done; });
    button.disabled = true;
    recorder.start();
    for (let left = 5; left > 0; left--) { button.textContent = `recording, ${left} s`; await pause(1000); }
    recorder.stop();
    await ended;
    stream.getTracks().forEach((track) => track.stop());
    button.disabled = false;
    button.textContent = "record 5 s";
    await bring(new File(parts, "webcam.webm"));
  }

  function chip(name) {
    return el("button", { class: "chip", "aria-pressed": String(name === of), onclick: async (event) => {
      of = name;
      for (const one of chips.querySelectorAll("[aria-pressed]")) one.setAttribute("aria-pressed", "false");
      event.currentTarget.setAttribute("aria-pressed", "true");
      await list();
    } }, name ?? "all");
  }

  const input = el("input", { type: "file", accept: pictures ? "video/*,image/*" : "video/*", onchange: () => {
    const file = input.files[0];
    input.value = "";  // so that the same file can be chosen again
    if (file) bring(file);
  } });
  async function begin(preferred = null, pickFirst = true) {
    if (of && !state.sources.includes(of)) of = null;
    fill(chips, state.sources.length > 1 ? [null, ...state.sources].map(chip) : null,
      el("label", { class: "button chip", tabindex: "0", onkeydown: (e) => e.key === "Enter" && input.click() }, pictures ? "bring a video or picture" : "bring a video", input),
      webcam ? el("button", { class: "chip", onclick: (event) => record(event.currentTarget) }, "record 5 s") : null);
    if (!state.videos) { fill(without, `${state.none}. Or bring a ${pictures ? "video or picture" : "video"} of your own.`); return; }
    const found = await list();
    if (preferred) await pick({ key: preferred.key }, preferred.at);
    else if (found.length && pickFirst) await pick(found[0]);
  }
  return { element: el("div", {}, chips, thumbs, without, more, preview, timing, note), begin, bring, pick, get picked() { return picked; } };
}

/**
 * Call `act` when the model is there, and again when there is more; returns what ends that. Where it fails, as without the
 * server, `place` says so.
 */
export function whenReady(act, place) {
  let began = false;
  const changed = async () => {
    if (!state.ready) return;
    const first = !began;
    began = true;
    try { await act(first); } catch (error) { complain(place, error); }
  };
  addEventListener("changed", changed);
  changed();
  return () => removeEventListener("changed", changed);
}
