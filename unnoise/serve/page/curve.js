// The schedule as a curve of log-SNR over t, and where on it a walk stands.

import { html, nothing, svg } from "./vendor/lit-html.js";

const [WIDTH, HEIGHT] = [320, 132];
const [LEFT, RIGHT, TOP, BOTTOM] = [34, 10, 10, 30];
const MOST = 10; // log-SNRs beyond are drawn at the edge: e^-10 and e^10 are noise and picture to the eye

/** t runs as the walk does, from noise (1) at the left to the picture (0) at the right. */
const across = (t) => LEFT + (1 - t) * (WIDTH - LEFT - RIGHT);
const up = (logSnr) => TOP + ((MOST - Math.min(MOST, Math.max(-MOST, logSnr))) / (2 * MOST)) * (HEIGHT - TOP - BOTTOM);

/**
 * The curve, the steps gone as marks, and the step looked at as a dot.
 * @param points [[t, log_snr], ...] of the schedule
 * @param gone frames of the walk so far: {t, log_snr}
 * @param here the frame looked at, or null
 */
export function curve(points, gone, here) {
  if (!points?.length) return nothing;
  const line = points.map(([t, value]) => `${across(t).toFixed(1)},${up(value).toFixed(1)}`).join(" ");
  const said = here ? `The walk stands at t = ${here.t.toFixed(2)}, log-SNR ${here.log_snr.toFixed(1)}.` : "The walk has not begun.";
  return html`<svg class="curve" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="The schedule: log-SNR from noise to picture. ${said}">
    ${[-8, 0, 8].map((value) => svg`
      <line class="grid" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${up(value)} y2=${up(value)}></line>
      <text class="tick" x=${LEFT - 6} y=${up(value) + 3.5} text-anchor="end">${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value)}</text>`)}
    <text class="tick" x=${LEFT} y=${HEIGHT - 10}>noise, t = 1</text>
    <text class="tick" x=${WIDTH - RIGHT} y=${HEIGHT - 10} text-anchor="end">picture, t = 0</text>
    <polyline class="line" points=${line}></polyline>
    ${gone.map((frame) => svg`<circle class="gone" cx=${across(frame.t)} cy=${up(frame.log_snr)} r="2"></circle>`)}
    ${here ? svg`<line class="drop" x1=${across(here.t)} x2=${across(here.t)} y1=${up(here.log_snr)} y2=${HEIGHT - BOTTOM + 4}></line>
      <circle class="here" cx=${across(here.t)} cy=${up(here.log_snr)} r="5.5"></circle>` : nothing}
  </svg>`;
}
