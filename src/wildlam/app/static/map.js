import { el } from "./common.js"; export function show(place) { place.append(el("p", {}, "soon")); }
