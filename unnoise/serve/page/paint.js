// Paint: mark what is to be made anew, and see several ways to fill it.

import { html, nothing } from "./vendor/lit-html.js";
import "./painter.js";
import { take } from "./acts.js";
import { conditions, seed, slider } from "./fields.js";
import { told } from "./generate.js";
import { begin } from "./jobs.js";
import { dropping } from "./source.js";
import { change, onStage, state } from "./state.js";

const TAB = "paint";
const painter = () => document.querySelector("mask-painter");

async function order() {
  const fields = state.form[TAB];
  const mask = await painter().png();
  const source = { ...state.source, mask };
  state.source = source; // the mask comes back with the picture
  const [n, first] = [fields.n ?? 4, fields.seed ?? 0];
  const request = { seed: first, n, steps: fields.steps ?? 50, cond: told(TAB, n) ?? {} };
  begin("inpaint", request, {
    title: `Painted anew: ${source.name}`, tab: TAB, source, mask, pictures: { picture: source.blob, mask },
    rows: Array.from({ length: n }, (_, i) => ({ seed: first + i, label: "" })),
  });
}

export function panel() {
  const ready = state.source && state.masked > 0;
  return html`<form class="panel" id="paint" aria-label="Paint" @submit=${(e) => (e.preventDefault(), order())}>
    ${dropping(TAB, { said: "Drop a picture here", shown: state.source, taken: take })}
    ${conditions(TAB)}
    ${slider(TAB, "n", "How many ways", { otherwise: 4, min: 1, max: state.limits.n ?? 16, step: 1 })}
    ${seed(TAB)}
    ${slider(TAB, "steps", "Steps", { otherwise: 50, min: 5, max: 200, step: 5, ends: ["quick", "fine"] })}
    <button class="main" type="submit" ?disabled=${!ready}>Fill what is painted</button>
    <p class="quiet">${ready ? "Pixels that are not painted come back byte for byte." : state.source ? "Paint over what is to be made anew." : "First a picture, then paint on it."}</p>
  </form>`;
}

const tell = () => {
  const own = painter();
  change({ masked: own.painted });
};

/** The painting itself; it stays on the page while results are shown, so that the mask can be mended. */
export function board() {
  const own = painter();
  if (!state.source) return nothing;
  return html`<section aria-label="Painting" ?hidden=${onStage() !== null}>
    <mask-painter class=${state.smooth ? "smooth" : ""} .source=${state.source} @painted=${tell}></mask-painter>
    <div class="row tools">
      <button type="button" aria-pressed=${!own?.erasing} @click=${() => tool(false)}>Paint</button>
      <button type="button" aria-pressed=${Boolean(own?.erasing)} @click=${() => tool(true)}>Erase</button>
      <div class="field"><label for="brush">Brush</label><input id="brush" type="range" min="1" max=${Math.max(8, Math.round(Math.max(state.source.width, state.source.height) / 2))}
        .value=${String(own?.brush ?? 4)} @input=${(e) => ((painter().brush = e.target.valueAsNumber), change())}></div>
      <button type="button" ?disabled=${!own?.undoable} @click=${() => painter().undo()}>Undo</button>
      <button type="button" ?disabled=${!own?.redoable} @click=${() => painter().redo()}>Redo</button>
      <button type="button" @click=${() => painter().invert()}>Invert</button>
      <button type="button" ?disabled=${!state.masked} @click=${() => painter().clear()}>Clear</button>
    </div>
    <div class="near"><button class="main" type="submit" form="paint" ?disabled=${!state.masked}>Fill what is painted</button></div>
    <p class="quiet row tools">${Math.round(100 * state.masked)} % painted. Right button or a pen’s eraser erases; [ and ] change the brush, Ctrl+Z takes back.</p>
  </section>`;
}

function tool(erasing) {
  painter().erasing = erasing;
  change();
}

/** Above the results: the way back to the mask. */
export const back = () => (onStage() && state.source
  ? html`<p><button type="button" @click=${() => change({ shown: null })}>← Back to the mask</button></p>` : nothing);

export const empty = () => (state.source ? nothing : html`<div class="empty"><h2>Paint on a picture</h2>
  <p>Drop a picture here or take one that you made. What you paint over, the model makes anew, in several ways.</p></div>`);
