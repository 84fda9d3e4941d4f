// Labelled inputs whose values live in `state.form[tab]` and survive a reload.

import { html, nothing } from "./vendor/lit-html.js";
import { change, model, state } from "./state.js";

const KEY = "unnoise-fields";

/** The fields as they were when the page was left. */
export function restoreFields() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    for (const tab of Object.keys(state.form)) Object.assign(state.form[tab], kept?.form?.[tab]);
    return { model: kept?.model ?? null, smooth: kept?.smooth ?? false };
  } catch {
    return { model: null, smooth: false };
  }
}

/** Keeps the fields for the next visit. */
export function keepFields() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ form: state.form, model: state.model, smooth: state.smooth }));
  } catch {
    // A browser that stores nothing still samples.
  }
}

/** Writes one field. */
export function put(tab, name, value) {
  state.form[tab][name] = value;
  keepFields();
  change();
}

const read = (tab, name, otherwise) => state.form[tab][name] ?? otherwise;

/** A number; an empty or impossible one falls back to `otherwise`. */
export function number(tab, name, label, { otherwise, min, max, step = 1, hint, blank } = {}) {
  const id = `${tab}-${name}-number`;
  return html`<div class="field"><label for=${id}>${label}</label>
    <input id=${id} type="number" inputmode=${step === 1 ? "numeric" : "decimal"} min=${min} max=${max} step=${step} placeholder=${blank ?? nothing}
      .value=${String(read(tab, name, otherwise) ?? "")} @change=${(e) => put(tab, name, clean(e.target, { otherwise, min, max, step }))}>
    ${hint ? html`<small>${hint}</small>` : nothing}</div>`;
}

function clean(input, { otherwise, min, max, step }) {
  const value = input.valueAsNumber;
  const whole = step === 1 ? Math.round(value) : value;
  const found = Number.isFinite(whole) ? Math.min(Math.max(whole, min ?? -Infinity), max ?? Infinity) : (otherwise ?? null);
  input.value = found ?? "";
  return found;
}

/** A slider that says its value. */
export function slider(tab, name, label, { otherwise, min, max, step, shown = String, hint, ends }) {
  const id = `${tab}-${name}`;
  const value = read(tab, name, otherwise);
  return html`<div class="field"><label for=${id}>${label} <output>${shown(value)}</output></label>
    <input id=${id} type="range" min=${min} max=${max} step=${step} .value=${String(value)} @input=${(e) => put(tab, name, e.target.valueAsNumber)}>
    ${ends ? html`<small class="row spread"><span>${ends[0]}</span><span>${ends[1]}</span></small>` : nothing}
    ${hint ? html`<small>${hint}</small>` : nothing}</div>`;
}

/** One of several: options as [value, name]. */
export function choice(tab, name, label, options, { otherwise = options[0][0], hint } = {}) {
  const id = `${tab}-${name}`;
  const value = String(read(tab, name, otherwise));
  return html`<div class="field"><label for=${id}>${label}</label>
    <select id=${id} @change=${(e) => put(tab, name, e.target.value)}>
      ${options.map(([key, text]) => html`<option value=${key} .selected=${String(key) === value}>${text}</option>`)}
    </select>${hint ? html`<small>${hint}</small>` : nothing}</div>`;
}

/** The seed, with a button that throws another. */
export function seed(tab) {
  const id = `${tab}-seed`;
  return html`<div class="field"><label for=${id}>Seed <em>same seed, same picture</em></label>
    <div class="beside"><input id=${id} type="number" min="0" max="4294967295" step="1" inputmode="numeric" .value=${String(read(tab, "seed", 0))}
        @change=${(e) => put(tab, "seed", clean(e.target, { otherwise: 0, min: 0, max: 4294967295, step: 1 }))}>
      <button type="button" @click=${() => put(tab, "seed", Math.floor(Math.random() * 100_000))}>Another</button></div></div>`;
}

/** One field for each condition of the model: classes by name, words one at a time, numbers as numbers. */
export function conditions(tab) {
  return (model()?.conds ?? []).map((one) => {
    if (one.classes?.length) {
      const rest = tab === "generate" ? [["", "any, as in the data"], ["*", "one of each"]] : [["", "not told"]];
      return choice(tab, `cond:${one.name}`, one.name === "label" ? "Class" : one.name, [...rest, ...one.classes.map((name) => [`=${name}`, name])], { otherwise: "" });
    }
    if (one.words?.length) {
      const rest = [["", tab === "generate" ? "any, as in the data" : "not told"], ["=", "none of them"]];
      return choice(tab, `cond:${one.name}`, one.name, [...rest, ...one.words.map((name) => [`=${name}`, name])], { otherwise: "" });
    }
    return number(tab, `cond:${one.name}`, one.name, { otherwise: null, step: "any", blank: "any" });
  });
}
