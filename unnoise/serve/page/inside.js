// A look inside: what the walk holds, what the network takes for noise in it, what picture it expects, and where t stands.

import { html, nothing } from "./vendor/lit-html.js";
import { curve } from "./curve.js";
import { change, model, state } from "./state.js";

/** How strong picture and noise are beside each other at a log-SNR, in words. */
function strengths(logSnr) {
  const ratio = Math.exp(Math.abs(logSnr) / 2);
  if (ratio > 90) return logSnr > 0 ? "Hardly any noise is left." : "It is noise, and hardly anything else.";
  if (ratio < 1.15) return "Picture and noise are equally strong.";
  const times = ratio < 10 ? ratio.toFixed(1) : ratio.toFixed(0);
  return logSnr > 0 ? `The picture is ${times} times as strong as the noise.` : `The noise is ${times} times as strong as the picture.`;
}

/** The frame that is looked at: the newest, or the one the slider was drawn back to. */
export function frameOf(entry) {
  const { frames } = entry;
  return frames?.length ? frames[Math.min(state.at ?? frames.length - 1, frames.length - 1)] : null;
}

function view(title, strip, sentence, letter = nothing) {
  return html`<figure>
    <un-picture class=${state.smooth ? "smooth" : ""} role="img" aria-label=${title} .png=${strip} .part=${state.selected}></un-picture>
    <figcaption><b>${title}${letter}</b> ${sentence}</figcaption>
  </figure>`;
}

/** The panel beside the grid, for the entry on the stage. */
export function inside(entry) {
  const frames = entry?.frames ?? [];
  const frame = entry ? frameOf(entry) : null;
  return html`<section class="inside" aria-labelledby="inside-title">
    <h2 id="inside-title">Inside the walk</h2>
    ${curve(model()?.schedule, frames, frame)}
    <p class="where">${frame
      ? html`<b>Step ${frame.k} of ${entry.steps}</b>, t = ${frame.t.toFixed(3)}: ${strengths(frame.log_snr)}`
      : frames.length || !entry
        ? "Sampling walks along this curve, from noise to a picture. Generate, and watch it here."
        : entry.task === "interpolate" ? "A journey is computed as a whole; there is nothing to watch on the way."
        : entry.status === "done"
          ? "How this one came about was watched when it was made and is not kept. “Restore settings” and generate to see it again."
          : "The first look comes with the first step."}</p>
    ${frames.length > 1 ? html`<label class="scrub"><span>Go back in time</span>
      <input type="range" min="0" max=${frames.length - 1} .value=${String(state.at ?? frames.length - 1)}
        @input=${(e) => change({ at: Number(e.target.value) === frames.length - 1 ? null : Number(e.target.value) })}></label>` : nothing}
    ${frame?.x ? html`<div class="three">
      ${view("What the walk holds", frame.x, "Picture and noise, added. It starts as noise alone.", html`, x<sub>t</sub>`)}
      ${view("The noise in it", frame.eps, "What the network takes for noise; each step takes a little of it away.")}
      ${view("The picture in it", frame.x0, "The mean of all that this could still become: blurred while much is open, sharp at the end.")}
    </div>` : nothing}
  </section>`;
}
