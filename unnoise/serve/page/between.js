// Between: a journey from one picture to another through the model's own noise, and a slider along it.

import { html } from "./vendor/lit-html.js";
import { end } from "./acts.js";
import { slider } from "./fields.js";
import { begin } from "./jobs.js";
import { dropping } from "./source.js";
import { state } from "./state.js";

const TAB = "between";

function order() {
  const fields = state.form[TAB];
  const { a, b } = state.ends;
  const frames = fields.frames ?? 16;
  begin("interpolate", { frames, steps: fields.steps ?? 50 }, {
    title: `From ${a.name} to ${b.name}`, tab: TAB, ends: { a, b }, pictures: { pictures: [a.blob, b.blob] },
    rows: Array.from({ length: frames }, (_, i) => ({ seed: i, label: `frame ${i + 1}`, frame: true })),
  });
}

const place = (which, said) => html`<div>${dropping(`end-${which}`, { said, shown: state.ends[which], taken: (file, name) => end({ png: file, seed: 0 }, which, name) })}</div>`;

export function panel() {
  const ready = state.ends.a && state.ends.b;
  return html`<form class="panel" aria-label="Between" @submit=${(e) => (e.preventDefault(), order())}>
    <div class="ends">${place("a", "From here …")}${place("b", "… to there")}</div>
    ${slider(TAB, "frames", "Frames", { otherwise: 16, min: 2, max: Math.min(64, state.limits.frames ?? 64), step: 1 })}
    ${slider(TAB, "steps", "Steps", { otherwise: 50, min: 10, max: 200, step: 5, ends: ["quick", "true to the ends"] })}
    <button class="main" type="submit" ?disabled=${!ready}>Find the way</button>
    <p class="quiet">${ready ? "Both are walked back into noise; between their noises lie the frames." : "Two pictures: drop them here, or choose “Travel from it” and “Travel to it” below a picture."}</p>
  </form>`;
}

export const empty = () => html`<div class="empty"><h2>Travel between two pictures</h2>
  <p>Give two pictures, and drag from one to the other through all that the model holds for likely between them.</p></div>`;
