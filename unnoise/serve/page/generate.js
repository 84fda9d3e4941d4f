// Generate: a grid of new pictures.

import { html, nothing } from "./vendor/lit-html.js";
import { choice, conditions, number, seed, slider } from "./fields.js";
import { begin } from "./jobs.js";
import { model, state } from "./state.js";

const TAB = "generate";

/** The condition as the server takes it, from the fields: absent is drawn as the data have it, `*` one of each. */
export function told(tab, n) {
  const given = {};
  for (const { name, classes } of model()?.conds ?? []) {
    const value = state.form[tab][`cond:${name}`] ?? "";
    if (value === "*") given[name] = Array.from({ length: n }, (_, i) => classes[i % classes.length]);
    else if (typeof value === "string" && value.startsWith("=")) given[name] = value.slice(1);
    else if (typeof value === "number") given[name] = value;
  }
  return Object.keys(given).length ? given : null;
}

function order() {
  const fields = state.form[TAB];
  const own = model();
  const [n, first] = [fields.n ?? usual(own), fields.seed ?? 0];
  const cond = told(TAB, n);
  const request = { seed: first, n, steps: fields.steps ?? own.defaults.steps, sampler: fields.sampler || null };
  if (cond) request.cond = cond;
  if (own.guided && fields.scale !== undefined) request.scale = fields.scale;
  const names = Object.values(cond ?? {});
  const label = (i) => names.map((name) => (Array.isArray(name) ? name[i] : name)).join(", ");
  const rows = Array.from({ length: n }, (_, i) => ({ seed: first + i, label: label(i) }));
  const what = names.map((name) => (Array.isArray(name) ? "one of each" : name)).join(", ");
  begin("sample", request, { title: `${n === 1 ? "A picture" : `${n} pictures`}${what ? `: ${what}` : ""}, seed ${first}${n > 1 ? `–${first + n - 1}` : ""}`, tab: TAB, rows });
}

/** As many pictures as a model answers at once, within what the server allows. */
const usual = (own) => Math.min(own.defaults.execution_batch ?? 16, state.limits.n ?? 16, 16);

/** The fields. */
export function panel() {
  const own = model();
  const scale = own.defaults.scale ?? 1;
  return html`<form class="panel" aria-label="Generate" @submit=${(e) => (e.preventDefault(), order())}>
    ${conditions(TAB)}
    ${slider(TAB, "n", "How many", { otherwise: usual(own), min: 1, max: state.limits.n ?? 16, step: 1 })}
    ${seed(TAB)}
    ${slider(TAB, "steps", "Steps", { otherwise: own.defaults.steps, min: 2, max: 100, step: 1, ends: ["quick", "fine"] })}
    ${own.guided ? slider(TAB, "scale", "Guidance", { otherwise: scale, min: 0, max: 8, step: 0.25, shown: (x) => (x === 1 ? "1, none" : String(x)),
      ends: ["told nothing", "very sure of the class"] }) : nothing}
    <button class="main" type="submit">Generate</button>
    <details><summary>More</summary><div>
      ${choice(TAB, "sampler", "Sampler", [["", `${own.defaults.sampler}, the model's own`], ...own.samplers.filter((name) => name !== own.defaults.sampler).map((name) => [name, name])],
        { hint: "How the walk goes from noise to picture. Those with noise of their own (Ancestral, SDE …) want more steps." })}
      ${number(TAB, "steps", "Steps, exactly", { otherwise: own.defaults.steps, min: 1, max: state.limits.steps ?? 1000 })}
    </div></details>
  </form>`;
}

/** What stands where no picture is yet. */
export const empty = () => html`<div class="empty"><div class="dots" aria-hidden="true">${Array.from({ length: 12 }, () => html`<i></i>`)}</div>
  <h2>Nothing made yet</h2><p>Press Generate and watch pictures come out of noise. Every one can be made again from its seed.</p></div>`;
