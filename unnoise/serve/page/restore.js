// Restore: a picture that is noisy, blurred, small, grey or badly packed, and what it may have been.

import { html, nothing } from "./vendor/lit-html.js";
import { take } from "./acts.js";
import { choice, conditions, number, seed, slider } from "./fields.js";
import { told } from "./generate.js";
import { begin } from "./jobs.js";
import { dropping } from "./source.js";
import { model, state } from "./state.js";

const TAB = "restore";

// By the server's names: what a person calls it, and the numbers that belong to it with their fields.
const DAMAGES = {
  denoise: { name: "Noise", say: "noise removed", numbers: {} },
  upscale: { name: "Too small", say: "enlarged", numbers: { factor: ["Times as large", { otherwise: 2, min: 2, max: 8 }] } },
  deblur: { name: "Blurred", say: "sharpened", numbers: { std: ["Blur, in pixels", { otherwise: 1.5, min: 0.3, max: 10, step: 0.1 }] } },
  motion: { name: "Shaken", say: "held still", numbers: { length: ["Length, in pixels", { otherwise: 5, min: 2, max: 40 }], angle: ["Direction, in degrees", { otherwise: 0, min: -180, max: 180 }] } },
  jpeg: { name: "Packed too hard (JPEG)", say: "unpacked", numbers: { quality: ["JPEG quality", { otherwise: 20, min: 1, max: 95 }] } },
  quantize: { name: "Too few shades", say: "shades", numbers: { levels: ["Shades that are left", { otherwise: 8, min: 2, max: 64 }] } },
  colorize: { name: "Without colour", say: "coloured", numbers: {} },
};

/** The damages that this model can undo. */
function damages(own) {
  const here = new Set([...(own.tasks.includes("restore") ? own.damages : []), ...(own.tasks.includes("upscale") ? ["upscale"] : [])]);
  return Object.entries(DAMAGES).filter(([kind]) => here.has(kind) && (kind !== "colorize" || own.channels !== "grey"));
}

function order() {
  const fields = state.form[TAB];
  const kind = chosen();
  const [n, first, { source }] = [fields.n ?? 4, fields.seed ?? 0, state];
  const numbers = Object.fromEntries(Object.entries(DAMAGES[kind].numbers).map(([name, [, { otherwise }]]) => [name, fields[name] ?? otherwise]));
  const request = { seed: first, n, steps: fields.steps ?? 50, cond: told(TAB, n) ?? {}, noise: fields.noise ?? null };
  if (kind === "upscale") Object.assign(request, numbers);
  else request.damage = { kind, ...numbers };
  begin(kind === "upscale" ? "upscale" : "restore", request, {
    title: `${source.name}: ${DAMAGES[kind].say}`, tab: TAB, source, pictures: { picture: source.blob },
    rows: Array.from({ length: n }, (_, i) => ({ seed: first + i, label: "" })),
  });
}

function chosen() {
  const there = damages(model()).map(([kind]) => kind);
  return there.includes(state.form[TAB].kind) ? state.form[TAB].kind : there[0];
}

export function panel() {
  const kind = chosen();
  if (!kind) return html`<div class="panel"><p class="quiet">This model restores nothing.</p></div>`;
  return html`<form class="panel" aria-label="Restore" @submit=${(e) => (e.preventDefault(), order())}>
    ${dropping(TAB, { said: "Drop a picture here", shown: state.source, taken: take })}
    ${choice(TAB, "kind", "What is wrong with it", damages(model()).map(([key, { name }]) => [key, name]))}
    <div class="halves">${Object.entries(DAMAGES[kind].numbers).map(([name, [label, rest]]) => number(TAB, name, label, rest))}</div>
    ${conditions(TAB)}
    ${slider(TAB, "n", "How many answers", { otherwise: 4, min: 1, max: state.limits.n ?? 16, step: 1 })}
    <button class="main" type="submit" ?disabled=${!state.source}>Restore</button>
    <details><summary>More</summary><div>
      ${seed(TAB)}
      ${slider(TAB, "steps", "Steps", { otherwise: 50, min: 5, max: 200, step: 5, ends: ["quick", "fine"] })}
      ${number(TAB, "noise", "Noise, in levels of 255", { otherwise: null, min: 0, max: 255, step: 0.1, blank: "estimated",
        hint: "Tell it when you know it: too little and the noise is taken for picture." })}
    </div></details>
    ${state.source ? nothing : html`<p class="quiet">First a picture.</p>`}
  </form>`;
}

export const empty = () => (state.source
  ? html`<div class="empty"><un-picture class=${state.smooth ? "smooth" : ""} role="img" aria-label=${state.source.name} .png=${state.source.blob}></un-picture>
    <h2>Say what is wrong with it</h2><p>Then Restore. Several answers show where the picture leaves no doubt, and where it does.</p></div>`
  : html`<div class="empty"><h2>Restore a picture</h2><p>Drop one here: noisy, blurred, too small, packed too hard. The model knows what its kind of picture looks like.</p></div>`);
