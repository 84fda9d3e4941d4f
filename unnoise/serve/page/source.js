// The picture that is worked on: dropped, pasted, picked from the disk, or taken along from a grid.

import { html } from "./vendor/lit-html.js";
import { dropped } from "./acts.js";
import { change, state } from "./state.js";

const TYPES = "image/png,image/jpeg,image/webp,image/bmp,image/tiff,image/*";

/**
 * A place to drop a picture on.
 * @param over the key of `state.over` that is lit while something is dragged across
 * @param taken called with (file, name)
 */
export function dropping(key, { said, shown, taken }) {
  const light = (on) => (e) => {
    e.preventDefault();
    if ((state.over === key) !== on) change({ over: on ? key : null });
  };
  const drop = (e) => {
    const found = dropped(e);
    change({ over: null });
    if (found) taken(found.file, found.name);
  };
  return html`<div class="drop ${shown ? "filled" : ""} ${state.over === key ? "over" : ""}" @dragover=${light(true)} @dragleave=${light(false)} @drop=${drop}>
    ${shown ? html`<un-picture class=${state.smooth ? "smooth" : ""} role="img" aria-label=${shown.name} .png=${shown.blob}></un-picture>
      <span class="quiet">${shown.name}<br>${shown.width} × ${shown.height}</span>` : html`<span>${said}</span>`}
    <label class="button"><input class="unseen" type="file" accept=${TYPES} aria-label=${`${shown ? "Another picture" : "Choose a picture"}: ${said}`}
      @change=${(e) => e.target.files[0] && taken(e.target.files[0], e.target.files[0].name)}>${shown ? "Another" : "Choose a picture"}</label>
  </div>`;
}
