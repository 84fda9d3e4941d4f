// What can be done with a picture and with an entry of the history.

import * as api from "./api.js";
import { begin, save as write } from "./jobs.js";
import { keepFields } from "./fields.js";
import { download, fitted, sourceOf } from "./picture.js";
import { forget as erase } from "./store.js";
import { change, model, state } from "./state.js";

/** A picture in a few words. */
export const short = (row) => [row.label, row.frame ? "" : `seed ${row.seed}`].filter(Boolean).join(", ");

const fileOf = (entry, row) => `${entry.model.name}-${entry.task}-${row.seed}.png`.replaceAll(/[^\w.-]+/g, "-");

/** Another way to draw small pictures. */
export function smooth() {
  change({ smooth: !state.smooth });
  keepFields();
}

/** Goes to a tab. */
export const go = (tab) => (location.hash = tab);

export function keep(entry, row) {
  row.kept = !row.kept;
  change();
  return write(entry);
}

export const save = (entry, row) => download(row.png, fileOf(entry, row));

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    change({ notice: { kind: "info", text: "Copied." } });
  } catch {
    change({ notice: { kind: "info", text: "This browser does not let the page copy. Mark the line and copy it yourself." } });
  }
}

/** Asks how probable the model holds a picture; the answer stays with it. */
export async function probable(entry, row) {
  row.likelihood = "asked";
  change();
  try {
    const own = model();
    const told = Object.keys(row.recipe?.cond ?? {}).length ? row.recipe.cond : {};
    row.likelihood = await api.likelihood(own.id, await api.upload(row.png), told);
    if (entry.status === "done") write(entry);
  } catch (error) {
    row.likelihood = null;
    change({ notice: { kind: "error", text: error.message } });
  }
  change();
}

/** Eight others like it. */
export function vary(entry, row) {
  const n = Math.min(8, state.limits.n ?? 8);
  const seed = Math.floor(Math.random() * 100_000);
  return edit("vary", { seed, n, strength: state.form.vary.strength ?? 0.5 }, row, `${n} variations of ${short(row)}`);
}

/** Twice as large. */
export function upscale(entry, row) {
  return edit("upscale", { seed: row.seed ?? 0, n: 1, factor: 2 }, row, `${short(row)}, twice as large`);
}

function edit(task, request, row, title) {
  const rows = Array.from({ length: request.n }, (_, i) => ({ seed: request.seed + i, label: "" }));
  return begin(task, request, { title, tab: "generate", rows, pictures: { picture: row.png } });
}

/** Takes a picture along to the tab that paints or restores. */
export async function use(row, tab) {
  await take(row.png, short(row));
  go(tab);
}

/** A file or picture as the source of edits. */
export async function take(file, name) {
  try {
    change({ source: await sourceOf(file, name), shown: null, masked: 0, notice: null });
  } catch (error) {
    change({ notice: { kind: "error", text: error.message } });
  }
}

/** A picture as one end of a journey: cut and scaled to the model's size. */
export async function end(row, which, name) {
  try {
    const [, height, width] = model().shape;
    const source = await fitted(await sourceOf(row.png ?? row, name ?? short(row)), width, height);
    change({ ends: { ...state.ends, [which]: source }, notice: null, ...(state.tab === "between" ? { shown: null } : {}) });
    go("between");
  } catch (error) {
    change({ notice: { kind: "error", text: error.message } });
  }
}

let carried = null; // the picture under way, since the drag's own data hold text alone

export function carry(e, row) {
  carried = row;
  e.dataTransfer.setData("text/plain", short(row));
  e.dataTransfer.effectAllowed = "copy";
}

/** The picture that was dropped: a file from outside, or one of the page's own: {file, name} or null. */
export function dropped(e) {
  e.preventDefault();
  const [file] = e.dataTransfer.files;
  if (file) return { file, name: file.name };
  const row = carried;
  carried = null;
  return row ? { file: row.png, name: short(row) } : null;
}

/** Puts an entry of the history on the stage. */
export function show(entry) {
  change({ shown: entry, selected: 0, at: null, frame: 0 });
}

/** The fields, pictures and model as they were for an entry. */
export function restore(entry) {
  const own = state.models.find((one) => one.weights === entry.model.weights);
  state.form[entry.tab] = { ...entry.form };
  change({
    shown: entry, selected: 0, at: null, frame: 0,
    ...(own ? { model: own.id } : {}),
    ...(entry.source ? { source: entry.source } : {}),
    ...(entry.ends ? { ends: entry.ends } : {}),
    notice: own ? null : { kind: "error", text: `The model ${entry.model.name} is not served now. Serve its run to make this again.` },
  });
  keepFields();
  go(entry.tab);
}

export async function forget(entry) {
  change({ history: state.history.filter((one) => one !== entry), ...(state.shown === entry ? { shown: null } : {}) });
  await erase(entry.id);
}
