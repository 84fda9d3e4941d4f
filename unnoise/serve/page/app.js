// The page: asks the server what it serves, and draws header, tab and stage whenever the state changes.

import { html, nothing, render } from "./vendor/lit-html.js";
import * as about from "./about.js";
import { take } from "./acts.js";
import * as api from "./api.js";
import * as between from "./between.js";
import { keepFields, restoreFields } from "./fields.js";
import * as generate from "./generate.js";
import * as history from "./history.js";
import { inside } from "./inside.js";
import { resume } from "./jobs.js";
import * as paint from "./paint.js";
import "./picture.js";
import * as restoring from "./restore.js";
import { stage } from "./stage.js";
import { change, drawnBy, model, onStage, state } from "./state.js";
import { entries } from "./store.js";

const TABS = { generate: "Generate", paint: "Paint", restore: "Restore", between: "Between", history: "History", about: "Model" };
const WORK = { generate, paint, restore: restoring, between };
const NEEDS = { paint: ["inpaint"], restore: ["restore", "upscale"], between: ["interpolate"] };

const open = (tab) => !NEEDS[tab] || NEEDS[tab].some((task) => model()?.tasks.includes(task));

function header() {
  return html`<header><h1>unnoise</h1>
    <nav aria-label="What to do"><ul>${Object.entries(TABS).filter(([tab]) => open(tab)).map(([tab, name]) => html`<li>
      <a href="#${tab}" aria-current=${state.tab === tab ? "page" : nothing}>${name}</a></li>`)}</ul></nav>
    <div class="pick"><label for="model">Model</label> <select id="model" @change=${(e) => choose(e.target.value)}>
      ${state.models.map((one) => html`<option value=${one.id} .selected=${one.id === state.model}>${one.name}</option>`)}</select></div></header>`;
}

function notice() {
  if (state.gone) return html`<div class="notice error" role="alert"><span>The server does not answer. It is tried again every few seconds; your history is safe in this browser.</span></div>`;
  if (!state.notice) return nothing;
  const { kind, text } = state.notice;
  return html`<div class="notice ${kind}" role=${kind === "error" ? "alert" : "status"}><span>${text}</span>
    <button type="button" class="plain" @click=${() => change({ notice: null })}>Close</button></div>`;
}

function desk() {
  const work = WORK[state.tab];
  return html`<main class="desk ${state.tab === "paint" && state.source ? "first" : ""}" id="main" tabindex="-1">${work.panel()}
    <div class="stage" @dragover=${(e) => e.preventDefault()} @drop=${dropped}>
      ${state.tab === "paint" ? html`${paint.back()}${paint.board()}` : nothing}${stage(work.empty())}</div>
    ${inside(onStage())}</main>`;
}

/** A file dropped anywhere on the stage is the picture to paint on or to restore. */
function dropped(e) {
  const [file] = e.dataTransfer.files;
  if (!file) return;
  e.preventDefault();
  take(file, file.name);
  if (!["paint", "restore"].includes(state.tab)) location.hash = "restore";
}

function page() {
  if (!state.models) return html`<main class="empty" id="main"><h1>unnoise</h1><p role="status">${state.notice?.text ?? "Asking the server what it serves …"}</p></main>`;
  if (!state.models.length) return html`<main class="empty" id="main"><h1>unnoise</h1><p>No model of pictures is served; others answer programs alone. Start it with one: <code>unnoise serve runs/mine</code></p></main>`;
  return html`<a class="skip" href="#main" @click=${skip}>To the content</a>${header()}${notice()}
    ${WORK[state.tab] ? desk() : html`<main id="main" tabindex="-1">${state.tab === "history" ? history.view() : about.view()}</main>`}`;
}

function skip(e) {
  e.preventDefault();
  document.getElementById("main").focus();
}

/** Takes another model, and asks for its schedule. */
async function choose(id) {
  change({ model: id });
  keepFields();
  const found = await api.details(id).catch(() => null);
  const own = state.models.find((one) => one.id === id);
  if (found?.schedule && own) own.schedule = found.schedule.t.map((t, i) => [t, found.schedule.log_snr[i] ?? (t > 0.5 ? -30 : 30)]);
  route();
}

function route() {
  const tab = location.hash.slice(1);
  if (tab in TABS) change({ tab: open(tab) ? tab : "generate" });
}

/** While the server does not answer, asks every few seconds whether it does again. */
async function watch() {
  if (state.gone && (await api.alive())) change({ gone: false });
  setTimeout(watch, 3000);
}

async function start() {
  drawnBy(() => render(page(), document.getElementById("app")));
  const fields = restoreFields();
  change({ smooth: fields.smooth });
  try {
    const [models, limits] = await Promise.all([api.models(), api.limits()]);
    // Guidance needs an answer told nothing to step away from, so a model that is told something.
    const served = models.filter((one) => one.kind === "pictures").map((one) => ({ ...one, conds: one.conditions ?? [], guided: Boolean(one.conditions?.length) }));
    change({ models: served, limits });
    if (served.length) await choose(served.some((one) => one.id === fields.model) ? fields.model : served[0].id);
  } catch (error) {
    change({ notice: { kind: "error", text: error.message } });
    return;
  }
  change({ history: await entries() });
  await resume();
}

window.addEventListener("hashchange", route);
// A picture may be pasted as well as dropped.
window.addEventListener("paste", (e) => {
  const file = [...(e.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) take(file, file.name);
});
start();
watch();
