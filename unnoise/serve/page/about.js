// The model: what it is, its card and its report.

import { html, nothing } from "./vendor/lit-html.js";
import * as api from "./api.js";
import { change, model, state } from "./state.js";

/** Asks for the card once a model. */
async function fetchCard(own) {
  if (state.about?.id === own.id) return;
  change({ about: { id: own.id, card: null } });
  const card = own.has_card ? await api.card(own.id).catch(() => null) : null;
  if (state.about.id === own.id) change({ about: { id: own.id, card } });
}

function facts(own) {
  const [channels, height, width] = own.shape;
  const told = own.conds.map((one) => `${one.name}${one.classes ? `: ${one.classes.slice(0, 12).join(", ")}${one.classes.length > 12 ? " …" : ""}` : ""}`);
  return [
    ["Makes", own.shape.length === 3 ? `${{ grey: "grey pictures", rgb: "colour pictures", rgba: "colour pictures with transparency" }[own.channels] ?? `${channels} channels`} of ${width} × ${height} pixels` : own.shape.join(" × ")],
    ["Is told", told.join("; ") || "nothing"],
    ["Walks by", `${own.defaults.sampler}, ${own.defaults.steps} steps`],
    ["Parameters", own.parameters?.toLocaleString("en")],
    ["Weights, SHA-256", html`<code>${own.weights}</code>`],
  ].filter(([, value]) => value);
}

export function view() {
  const own = model();
  fetchCard(own);
  return html`<div class="wide stack"><h2>${own.name}</h2>
    <dl class="facts">${facts(own).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    ${state.about?.card ? html`<h3 id="card">Model card</h3><div class="card-text" tabindex="0" role="region" aria-labelledby="card">${state.about.card}</div>` : nothing}
    ${own.has_report
      ? html`<div class="row spread"><h3>Report: how good it is</h3></div><iframe sandbox title="Report of ${own.name}" src="/v1/models/${own.id}/report"></iframe>`
      : html`<p class="quiet">This run has no report yet. <code>unnoise report ${own.name}</code> writes one: samples beside real pictures, distances, accuracy by class, costs.</p>`}
  </div>`;
}
