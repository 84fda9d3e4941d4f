// One entry's way: hand over its pictures, order, listen, and keep what came of it.

import * as api from "./api.js";
import { remember } from "./store.js";
import { change, model, state } from "./state.js";

const INSIDE = 600_000; // pixels of all rows up to which every step is looked into
const RUNNING = "unnoise-running"; // the job to listen to again after a reload
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const stillOpen = new Map(); // entry id -> AbortController until the order is taken

/**
 * Begins a task and shows it.
 * @param task of the server: "sample", "inpaint" ...
 * @param request its fields without pictures
 * @param about {title, tab, rows: [{seed, label}], pictures: {name of the field: blob or [blobs]}, source, mask, ends}
 */
export async function begin(task, request, about) {
  const own = model();
  const entry = {
    id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
    at: Date.now(), task, request, title: about.title, tab: about.tab, form: { ...state.form[about.tab] },
    model: { id: own.id, name: own.name, weights: own.weights },
    rows: about.rows.map((row) => ({ ...row, png: null, kept: false })),
    source: about.source ?? null, mask: about.mask ?? null, ends: about.ends ?? null,
    status: "sent", k: 0, steps: request.steps ?? null, frames: [],
  };
  change({ shown: entry, selected: 0, at: null, frame: 0, history: [entry, ...state.history] });
  requestAnimationFrame(() => requestAnimationFrame(lookAtStage));
  const control = new AbortController();
  stillOpen.set(entry.id, control);
  try {
    const fields = { ...request, model: own.id, wait: false, inside: looked(own, entry.rows.length) };
    await patiently(entry, control, async () => {
      for (const [name, found] of Object.entries(about.pictures ?? {})) {
        fields[name] = Array.isArray(found)
          ? await Promise.all(found.map((one) => api.upload(one, control.signal)))
          : await api.upload(found, control.signal);
      }
      take(entry, await api.order(task, fields, control.signal));
    });
    await listen(entry);
  } catch (error) {
    if (entry.status !== "cancelled") fail(entry, error);
  } finally {
    stillOpen.delete(entry.id);
  }
  return entry;
}

/** On a phone the stage lies below the fields: what was asked for comes into view. */
function lookAtStage() {
  const stage = document.querySelector(".stage");
  if (stage && stage.getBoundingClientRect().top > 0.5 * innerHeight) stage.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** Whether so many pictures are few enough to be looked into at every step. */
function looked(own, rows) {
  const [, height, width] = own.shape;
  return rows * height * width <= INSIDE;
}

/** Orders again as often as the server is full and says when to come back. */
async function patiently(entry, control, send) {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (error.status !== 429) throw error;
      for (entry.wait = Math.ceil(error.wait ?? 2); entry.wait > 0; entry.wait--) {
        change();
        await pause(1);
        if (control.signal.aborted) throw error;
      }
      change();
    }
  }
}

/** Stops an entry wherever it is. */
export async function cancel(entry) {
  const before = entry.status;
  entry.status = "cancelled";
  change();
  stillOpen.get(entry.id)?.abort();
  if (before !== "sent" && entry.job) await api.stop(entry.job).catch(() => {});
}

function fail(entry, error) {
  entry.status = "failed";
  entry.error = error.message;
  change(error.status === 0 ? { gone: true } : {});
}

function take(entry, job) {
  if (entry.status === "cancelled") return;
  Object.assign(entry, { job: job.id, status: job.status, place: job.position });
  if (job.steps) Object.assign(entry, { k: Math.max(entry.k, job.step ?? 0), steps: job.steps });
  change();
}

/** Listens until the job has ended. The browser reconnects by itself; only a server that forgot the job ends it early. */
function listen(entry) {
  return new Promise((ended, failed) => {
    const events = new EventSource(`/v1/jobs/${entry.job}/events`);
    keepRunning(entry);
    const end = (then, value) => {
      events.close();
      keepRunning(null);
      then(value);
    };
    const on = (name, what) => events.addEventListener(name, (e) => what(JSON.parse(e.data || "{}")));
    on("state", (job) => {
      if (state.gone) change({ gone: false });
      take(entry, job);
    });
    on("progress", ({ step, steps }) => {
      Object.assign(entry, { k: step, steps, status: entry.status === "cancelled" ? "cancelled" : "running" });
      change();
    });
    on("preview", (frame) => {
      seen(entry, frame);
      change();
    });
    on("result", (result) => end(ended, finish(entry, result)));
    on("failed", ({ error }) => end(failed, new api.Refused(error?.message ?? "It failed.", 500)));
    on("cancelled", () => {
      entry.status = "cancelled";
      change();
      end(ended);
    });
    events.onerror = async () => {
      try {
        const job = await api.job(entry.job);
        if (events.readyState !== EventSource.CLOSED) return; // it connects again by itself
        if (job.result) end(ended, finish(entry, job.result));
        else end(failed, new api.Refused(job.error?.message ?? "The server stopped telling how it goes.", 500));
      } catch (error) {
        if (error.status === 0 && events.readyState !== EventSource.CLOSED) change({ gone: true });
        else end(failed, error.status === 404 ? new api.Refused("The server no longer knows this job. It may have been started anew.", 404) : error);
      }
    };
  });
}

/** One look at the walk. A frame that comes twice (after a reconnection) takes the place of the old one. */
function seen(entry, { step, t, began, log_snr, n, x0, x, eps }) {
  const strip = (png) => (png ? { png, n } : null);
  // What is looked into is the state that the step began with, at its own t.
  const at = began === undefined ? { t, log_snr } : { t: began, log_snr: between(began) };
  const frame = { k: step, ...at, x0: strip(x0), x: strip(x), eps: strip(eps) };
  const place = entry.frames.findIndex((one) => one.k >= step);
  if (place < 0) entry.frames.push(frame);
  else entry.frames.splice(place, entry.frames[place].k === step ? 1 : 0, frame);
}

/** The log-SNR at t, read off the schedule's curve. */
function between(t) {
  const points = model()?.schedule ?? [];
  const i = points.findIndex((one) => one[0] >= t);
  if (i < 1) return points.at(i)?.[1] ?? 0;
  const [[t0, low], [t1, high]] = [points[i - 1], points[i]];
  return low + ((high - low) * (t - t0)) / (t1 - t0 || 1);
}

async function finish(entry, result) {
  const pictures = await Promise.all(result.images.map((image) => api.blob(image.url)));
  entry.rows = result.images.map((image, i) => ({
    ...entry.rows[i], seed: image.seed ?? entry.rows[i]?.seed, label: entry.rows[i]?.label || said(image.cond), png: pictures[i],
    recipe: image.recipe, command: image.command ?? null, kept: false,
  }));
  const steps = entry.steps || result.images[0]?.recipe?.steps;
  Object.assign(entry, { command: result.command, seconds: result.seconds, nfe: result.nfe, steps, k: steps, status: "done" });
  change();
  await save(entry);
}

/** A picture's conditions in a few words. */
const said = (cond) => Object.values(cond ?? {}).filter((value) => value !== null).map(String).join(", ");

/** Writes an entry into the history; what was watched stays behind. */
export async function save(entry) {
  const { frames, wait, ...kept } = entry;
  if (!(await remember({ ...kept, frames: [] })))
    change({ notice: { kind: "error", text: "This browser keeps no history (a private window, or no room left). Save what you want to keep." } });
}

function keepRunning(entry) {
  try {
    if (entry) sessionStorage.setItem(RUNNING, JSON.stringify({ ...entry, frames: [], source: null, mask: null, ends: null }));
    else sessionStorage.removeItem(RUNNING);
  } catch {
    // Without a session store a reload only forgets what runs.
  }
}

/** Listens again to the job that ran when the page was reloaded. */
export async function resume() {
  let entry = null;
  try {
    entry = JSON.parse(sessionStorage.getItem(RUNNING));
  } catch {
    return;
  }
  if (!entry?.job) return;
  keepRunning(null);
  const job = await api.job(entry.job).catch(() => null);
  if (!job || !["queued", "running", "done"].includes(job.status)) return;
  change({ shown: entry, history: [entry, ...state.history.filter((one) => one.id !== entry.id)] });
  await listen(entry).catch((error) => fail(entry, error));
}
