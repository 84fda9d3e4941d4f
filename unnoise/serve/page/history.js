// History: what was made in this browser, each with all that makes it again.

import { html, nothing } from "./vendor/lit-html.js";
import * as act from "./acts.js";
import { change, state } from "./state.js";

const when = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

function card(entry) {
  const kept = entry.rows.filter((row) => row.kept).length;
  return html`<li class="entry">
    <button type="button" class="mini" aria-label="Show ${entry.title}" @click=${() => (act.show(entry), act.go(entry.tab))}>
      ${entry.rows.slice(0, 12).map((row) => html`<un-picture class=${state.smooth ? "smooth" : ""} .png=${row.png}></un-picture>`)}</button>
    <div><h3>${entry.title}</h3><p class="quiet">${when.format(entry.at)}, ${entry.model.name}${kept ? `, ★ ${kept} kept` : ""}</p></div>
    <div class="row"><button type="button" @click=${() => act.restore(entry)}>Restore settings</button>
      ${entry.command ? html`<button type="button" @click=${() => act.copy(entry.command)}>Copy command</button>` : nothing}
      <button type="button" class="plain" aria-label="Delete ${entry.title}" @click=${() => act.forget(entry)}>Delete</button></div>
  </li>`;
}

export function view() {
  const done = state.history.filter((entry) => entry.status === "done" && (!state.onlyKept || entry.rows.some((row) => row.kept)));
  return html`<div class="wide"><div class="row spread"><h2>History</h2>
      <button type="button" aria-pressed=${state.onlyKept} @click=${() => change({ onlyKept: !state.onlyKept })}>★ Kept only</button></div>
    <p class="quiet">Kept in this browser and nowhere else. Settings, seed and model together give the same bytes again.</p>
    ${done.length ? html`<ul class="entries">${done.map(card)}</ul>`
      : html`<div class="empty"><h2>${state.onlyKept ? "Nothing kept yet" : "Nothing made yet"}</h2>
        <p>${state.onlyKept ? "Choose a picture and press ☆ Keep." : "What you generate, paint and restore will be listed here."}</p></div>`}</div>`;
}
