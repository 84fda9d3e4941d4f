// The stage: the pictures of one entry as they come about, the one that is chosen, and what can be done with it.

import { html, nothing } from "./vendor/lit-html.js";
import * as act from "./acts.js";
import { put } from "./fields.js";
import { cancel } from "./jobs.js";
import { frameOf } from "./inside.js";
import { change, model, onStage, state } from "./state.js";

const columns = (n) => (n <= 1 ? 1 : n <= 4 ? 2 : n <= 9 ? 3 : n <= 16 ? 4 : n <= 25 ? 5 : n <= 36 ? 6 : 8);
const going = (entry) => ["sent", "queued", "running"].includes(entry?.status);

function told(entry) {
  if (state.gone && going(entry)) return "Waiting for the server …";
  switch (entry.status) {
    case "sent": return entry.wait ? `Busy. Trying again in ${entry.wait} s.` : "Sending …";
    case "queued": return entry.place ? `In the queue: ${entry.place} before this.` : "In the queue.";
    case "running": return entry.k ? `Step ${entry.k} of ${entry.steps}` : "Working …";
    case "cancelled": return "Stopped. What you see is as far as it came.";
    case "failed": return entry.error;
    default: return entry.seconds ? `${entry.rows.length === 1 ? "Done" : `${entry.rows.length} pictures`} in ${entry.seconds.toFixed(entry.seconds < 10 ? 1 : 0)} s` : "Done";
  }
}

function progress(entry) {
  const running = going(entry);
  return html`<div class="progress">
    ${!running ? nothing : entry.k ? html`<progress aria-label="Steps done" max=${entry.steps || 1} .value=${entry.k}></progress>`
      : html`<progress aria-label="Working"></progress>`}
    <span class="told" role="status">${told(entry)}</span>
    ${running ? html`<button type="button" @click=${() => cancel(entry)}>Stop</button>`
      : html`<span class="row"><button type="button" aria-pressed=${state.smooth} @click=${act.smooth}>Smooth</button></span>`}
  </div>`;
}

/** A tile shows the finished picture, or, while it comes about and when time is turned back, what is expected of it. */
function tile(entry, row, i, frame) {
  const back = state.at !== null && frame;
  const png = back ? frame.x0 : row.png ?? frame?.x0 ?? null;
  const name = row.label || act.short(row);
  return html`<li><button type="button" class="tile" aria-pressed=${i === state.selected} aria-label="Picture ${i + 1}: ${act.short(row)}"
    draggable=${row.png ? "true" : "false"} @dragstart=${(e) => act.carry(e, row)} @click=${() => change({ selected: i })} @keydown=${(e) => arrows(e, i, entry.rows.length)}>
    <un-picture class="${state.smooth ? "smooth" : ""} ${png || !going(entry) ? "" : "waits"}" .png=${png} .part=${i}></un-picture>
    ${row.kept ? html`<span class="star" aria-hidden="true">★</span>` : nothing}
    <span class="name">${name}</span></button></li>`;
}

function arrows(e, i, n) {
  const to = i + ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(n), ArrowUp: -columns(n) }[e.key] ?? 0);
  if (to === i || to < 0 || to >= n) return;
  e.preventDefault();
  change({ selected: to });
  e.currentTarget.closest("ul").children[to].firstElementChild.focus();
}

function chosen(entry) {
  const row = entry.rows[state.selected];
  if (!row?.png || going(entry)) return nothing;
  const can = new Set(model()?.tasks ?? []);
  const command = row.command ?? entry.command;
  return html`<section class="chosen" aria-label="The chosen picture">
    <div class="row spread"><h2>${act.short(row)}</h2>
      <span class="row"><button type="button" aria-pressed=${Boolean(row.kept)} @click=${() => act.keep(entry, row)}>${row.kept ? "★ Kept" : "☆ Keep"}</button>
      <button type="button" @click=${() => act.save(entry, row)}>Save PNG</button></span></div>
    <div class="row">
      ${can.has("vary") ? html`<span class="joined"><button type="button" @click=${() => act.vary(entry, row)}>Vary</button>
        <input type="range" min="0.1" max="0.9" step="0.1" aria-label="How much to vary" title="How much" .value=${String(state.form.vary.strength ?? 0.5)}
          @change=${(e) => put("vary", "strength", e.target.valueAsNumber)}></span>` : nothing}
      ${can.has("upscale") ? html`<button type="button" @click=${() => act.upscale(entry, row)}>Enlarge × 2</button>` : nothing}
      ${can.has("inpaint") ? html`<button type="button" @click=${() => act.use(row, "paint")}>Paint on it</button>` : nothing}
      ${can.has("restore") ? html`<button type="button" @click=${() => act.use(row, "restore")}>Restore it</button>` : nothing}
      ${can.has("interpolate") ? html`<button type="button" @click=${() => act.end(row, "a")}>Travel from it</button>
        <button type="button" @click=${() => act.end(row, "b")}>Travel to it</button>` : nothing}
    </div>
    ${can.has("likelihood") ? probable(entry, row) : nothing}
    ${command ? html`<details><summary>The command that gives the same bytes</summary><div><div class="command"><code tabindex="0">${command}</code>
      <button type="button" @click=${() => act.copy(command)}>Copy</button></div></div></details>` : nothing}
  </section>`;
}

function probable(entry, row) {
  const found = row.likelihood;
  if (found === "asked") return html`<p class="quiet" role="status">Asking how probable it is …</p>`;
  if (!found) return html`<div><button type="button" class="plain" @click=${() => act.probable(entry, row)}>How probable is it?</button></div>`;
  return html`<p class="quiet"><b>${found.bits_per_dim.toFixed(3)} bits</b> for each of its numbers: the fewer, the more probable the model holds it.</p>`;
}

/** The journey between two pictures: one picture, and a slider through the frames. */
function journey(entry, frame) {
  const last = entry.rows.length - 1;
  const i = Math.min(state.frame, last);
  const png = entry.rows[i]?.png ?? frame?.x0 ?? null;
  return html`<div class="journey">
    <un-picture class="${state.smooth ? "smooth" : ""} ${png || !going(entry) ? "" : "waits"}" role="img" aria-label="Frame ${i + 1} of ${last + 1}" .png=${png} .part=${i}></un-picture>
    <div class="field"><label for="frame">Drag from one to the other <output>${i + 1} of ${last + 1}</output></label>
      <input id="frame" type="range" min="0" max=${last} .value=${String(i)} @input=${(e) => change({ frame: e.target.valueAsNumber, selected: e.target.valueAsNumber })}></div>
  </div>`;
}

function strip() {
  const recent = state.history.filter((one) => one.rows.some((row) => row.png)).slice(0, 14);
  if (!recent.length) return nothing;
  return html`<section class="strip" aria-label="Made before"><div class="row spread"><h3>Made before</h3><a href="#history">All of them</a></div>
    <ul>${recent.map((entry) => html`<li><button type="button" class="thumb" aria-label="Show ${entry.title}" aria-pressed=${state.shown?.id === entry.id}
      @click=${() => act.show(entry)}><un-picture class=${state.smooth ? "smooth" : ""} .png=${entry.rows[Math.floor(entry.rows.length / 2) * (entry.task === "interpolate")].png}></un-picture></button></li>`)}</ul></section>`;
}

/** The middle of the page. */
export function stage(empty) {
  const entry = onStage();
  if (!entry) return html`${empty}${strip()}`;
  const frame = frameOf(entry);
  return html`<div class="title">${entry.source ? html`<figure><un-picture class=${state.smooth ? "smooth" : ""} role="img" aria-label="The picture that was given" .png=${entry.source.blob}></un-picture>
      <figcaption class="quiet">given</figcaption></figure>` : nothing}<div><h2>${entry.title}</h2><p class="quiet">${entry.model.name}</p></div></div>
    ${progress(entry)}
    ${entry.task === "interpolate" && entry.rows.length > 1 ? journey(entry, frame)
      : html`<ul class="grid c${columns(entry.rows.length)}">${entry.rows.map((row, i) => tile(entry, row, i, frame))}</ul>`}
    ${chosen(entry)}${strip()}`;
}
