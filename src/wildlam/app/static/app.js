// The frame of the playground: tabs, the state that all pages share, and the pages themselves.
import { api, bar, cancel, el, fill, pause, state } from "./common.js";
import * as drive from "./drive.js";
import * as map from "./map.js";
import * as plan from "./plan.js";
import * as runs from "./runs.js";
import * as search from "./search.js";
import * as transfer from "./transfer.js";

const PAGES = { Drive: drive, Transfer: transfer, Plan: plan, Map: map, Search: search, Runs: runs };
const banner = document.getElementById("banner"), place = document.getElementById("page");
let leave = null;

function current() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  const found = Object.keys(PAGES).find((one) => one.toLowerCase() === name) ?? "Drive";
  return [found, new URLSearchParams(query)];
}

function show() {
  const [name, query] = current();
  leave?.();
  cancel();
  fill(document.getElementById("tabs"), ...Object.keys(PAGES).map((one) =>
    el("a", { href: `#${one.toLowerCase()}`, "aria-current": one === name ? "page" : null }, one)));
  document.title = `${name} · wildlam playground`;
  fill(place);
  leave = PAGES[name].show(place, query) ?? null;
}

function tell() {
  document.getElementById("run").textContent = state.run ?? "";
  const of = state.gathering;
  if (state.lost) fill(banner, "The playground has ended; start it again in the terminal: wildlam app");
  else if (state.error) fill(banner, el("span", { class: "error" }, state.error));
  else if (!state.ready) fill(banner, "Loading the model, some seconds", bar(null));
  else if (of && (of.state === "running" || of.state === "waiting")) {
    const left = of.left ? `, about ${Math.ceil(of.left)} s left` : "";
    fill(banner, `Inferring latent actions of the videos${left}. ${state.no_decoder ? "Map and Search come then" : state.controllers?.length ? "You can drive meanwhile" : "The keys come then"}.`, bar(of.share));
  } else if (of?.state === "failed") fill(banner, el("span", { class: "error" }, of.error));
  else { banner.hidden = true; return; }
  banner.hidden = false;
}

async function watch() {
  let before = "";
  for (;;) {
    try {
      Object.assign(state, await api("/api/state"), { lost: false });
      tell();
      const now = JSON.stringify([state.ready, state.transitions, state.indexed, state.error, state.no_decoder, state.groups]);
      if (now !== before) dispatchEvent(new Event("changed"));
      before = now;
    } catch { state.lost = true; tell(); }
    const settled = state.ready && !["running", "waiting"].includes(state.gathering?.state);
    await pause(settled ? 5000 : 500);
  }
}

addEventListener("hashchange", show);
addEventListener("pagehide", cancel);
show();
watch();
