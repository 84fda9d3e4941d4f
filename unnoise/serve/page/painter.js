// <mask-painter>: a picture and the mask painted on it, in the picture's own pixels, by mouse, pen, finger or keyboard.
//
// What is seen is what is sent: the mask is one byte a pixel of the picture, white (255) where it is to be painted anew.

const UNDOS = 60;
const UNDO_BYTES = 64e6; // of large pictures fewer strokes can be taken back

/** The bytes of a mask that was written as PNG. */
async function maskOf(png) {
  const bitmap = await createImageBitmap(png);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const { data } = canvas.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i] > 127 ? 255 : 0));
}

class Painter extends HTMLElement {
  #picture = document.createElement("canvas");
  #veil = document.createElement("canvas");
  #ring = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  #circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  #source = null;
  #mask = new Uint8Array(0);
  #count = 0; // pixels that are painted
  #past = [];
  #future = [];
  #last = null; // where the pen was, in the picture's pixels
  #pen = null; // the pointer that paints
  #value = 255;
  #spot = null; // of the keyboard
  brush = 3; // diameter in the picture's pixels
  erasing = false;

  connectedCallback() {
    if (this.childElementCount) return;
    this.#veil.className = "veil";
    this.#ring.setAttribute("class", "ring");
    this.#ring.setAttribute("aria-hidden", "true");
    this.#ring.append(this.#circle);
    this.append(this.#picture, this.#veil, this.#ring);
    this.tabIndex = 0;
    this.setAttribute("role", "application");
    this.setAttribute("aria-label", "Mask: paint what is to be made anew. Arrow keys move the brush, Space paints, E erases, brackets change its size.");
    this.addEventListener("pointerdown", (e) => this.#down(e));
    this.addEventListener("pointermove", (e) => this.#move(e));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) this.addEventListener(end, (e) => this.#up(e));
    this.addEventListener("pointerleave", () => !this.#pen && this.#hideRing());
    this.addEventListener("contextmenu", (e) => e.preventDefault());
    this.addEventListener("keydown", (e) => this.#key(e));
    this.addEventListener("blur", () => this.#hideRing());
  }

  /** {blob, mask}; another picture begins with the mask that it brings (a blob), or an empty one. */
  set source(source) {
    if (source === this.#source) return;
    this.#source = source;
    if (source) this.#load(source);
  }

  async #load(source) {
    const bitmap = await createImageBitmap(source.blob);
    const mask = source.mask ? await maskOf(source.mask) : new Uint8Array(bitmap.width * bitmap.height);
    if (source !== this.#source) return;
    const { width, height } = bitmap;
    for (const canvas of [this.#picture, this.#veil]) [canvas.width, canvas.height] = [width, height];
    this.#ring.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#picture.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#mask = mask;
    [this.#past, this.#future, this.#spot] = [[], [], null];
    this.brush = Math.max(1, Math.round(Math.min(width, height) / 7));
    this.#show();
  }

  get painted() {
    return this.#count / (this.#mask.length || 1);
  }

  get undoable() {
    return this.#past.length > 0;
  }

  get redoable() {
    return this.#future.length > 0;
  }

  /** The mask as PNG, white where paint is. */
  png() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.#veil.width, this.#veil.height];
    const data = new ImageData(canvas.width, canvas.height);
    this.#mask.forEach((one, i) => data.data.set([one, one, one, 255], 4 * i));
    canvas.getContext("2d").putImageData(data, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  undo() {
    this.#exchange(this.#past, this.#future);
  }

  redo() {
    this.#exchange(this.#future, this.#past);
  }

  clear() {
    this.#remember();
    this.#mask.fill(0);
    this.#show();
  }

  invert() {
    this.#remember();
    this.#mask.forEach((one, i) => (this.#mask[i] = 255 - one));
    this.#show();
  }

  #exchange(from, to) {
    if (!from.length) return;
    to.push(this.#mask);
    this.#mask = from.pop();
    this.#show();
  }

  #remember() {
    this.#past.push(this.#mask.slice());
    while (this.#past.length > Math.max(1, Math.min(UNDOS, UNDO_BYTES / this.#mask.length))) this.#past.shift();
    this.#future = [];
  }

  #down(e) {
    if (this.#pen !== null || (e.button !== 0 && e.button !== 2 && e.button !== 5)) return;
    e.preventDefault();
    this.focus({ preventScroll: true });
    this.setPointerCapture(e.pointerId);
    this.#pen = e.pointerId;
    this.#value = this.erasing || e.button === 2 || e.button === 5 || e.altKey ? 0 : 255; // button 5: a pen's eraser
    this.#remember();
    this.#last = this.#place(e);
    this.#stroke(this.#last, this.#last);
    this.#moveRing(this.#last);
  }

  #move(e) {
    const here = this.#place(e);
    this.#moveRing(here);
    if (e.pointerId !== this.#pen) return;
    // A quick hand moves far between two events; the browser kept the places between them.
    const places = e.getCoalescedEvents?.().map((one) => this.#place(one)) ?? [];
    for (const place of places.length ? places : [here]) {
      this.#stroke(this.#last, place);
      this.#last = place;
    }
  }

  #up(e) {
    if (e.pointerId !== this.#pen) return;
    this.#pen = this.#last = null;
    if (e.pointerType === "touch") this.#hideRing();
  }

  #place(e) {
    const box = this.#veil.getBoundingClientRect();
    return [((e.clientX - box.left) / box.width) * this.#veil.width, ((e.clientY - box.top) / box.height) * this.#veil.height];
  }

  /** All pixels whose centres are within half a brush of the segment from a to b. */
  #stroke([ax, ay], [bx, by]) {
    const { width, height } = this.#veil;
    const r = this.brush / 2;
    const [dx, dy] = [bx - ax, by - ay];
    const length = dx * dx + dy * dy;
    const reach = Math.max(r, Math.SQRT1_2) ** 2; // the smallest brush still takes the pixel it stands in
    const [left, right] = [Math.max(0, Math.floor(Math.min(ax, bx) - r - 1)), Math.min(width - 1, Math.ceil(Math.max(ax, bx) + r))];
    const [top, bottom] = [Math.max(0, Math.floor(Math.min(ay, by) - r - 1)), Math.min(height - 1, Math.ceil(Math.max(ay, by) + r))];
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
        const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        const i = y * width + x;
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 > reach || this.#mask[i] === this.#value) continue;
        this.#mask[i] = this.#value;
        this.#count += this.#value ? 1 : -1;
      }
    }
    this.#draw(left, top, right - left + 1, bottom - top + 1);
  }

  /** The whole mask, after more than a stroke has changed. */
  #show() {
    this.#count = this.#mask.reduce((sum, one) => sum + (one > 0), 0);
    this.#draw(0, 0, this.#veil.width, this.#veil.height);
  }

  /** One rectangle of the mask over the picture: a stroke across a large picture costs no more than its own pixels. */
  #draw(left, top, width, height) {
    if (width < 1 || height < 1 || !this.#mask.length) return;
    const data = new ImageData(width, height);
    const [red, green, blue] = getComputedStyle(this).getPropertyValue("--mask").split(/[ ,]+/).map(Number);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (this.#mask[(top + y) * this.#veil.width + left + x]) data.data.set([red, green, blue, 190], 4 * (y * width + x));
      }
    }
    this.#veil.getContext("2d").putImageData(data, left, top);
    this.dispatchEvent(new CustomEvent("painted"));
  }

  #moveRing([x, y]) {
    this.#ring.classList.add("on");
    this.#circle.setAttribute("cx", x);
    this.#circle.setAttribute("cy", y);
    this.#circle.setAttribute("r", Math.max(this.brush / 2, 0.5));
  }

  #hideRing() {
    this.#ring.classList.remove("on");
  }

  /** Changes the brush by a step that feels the same at every size. */
  resize(up) {
    const step = Math.max(1, Math.round(this.brush / 6));
    this.brush = Math.min(Math.max(1, this.brush + (up ? step : -step)), Math.max(this.#veil.width, this.#veil.height));
    if (this.#spot) this.#moveRing(this.#spot);
    this.dispatchEvent(new CustomEvent("painted"));
  }

  #key(e) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const key = e.key.toLowerCase();
    if ((e.ctrlKey || e.metaKey) && (key === "z" || key === "y")) key === "y" || e.shiftKey ? this.redo() : this.undo();
    else if (e.ctrlKey || e.metaKey || e.altKey) return;
    else if (moves[e.key]) this.#step(moves[e.key], e.shiftKey);
    else if (e.key === " ") this.#dab(this.#spot ?? this.#middle(), true);
    else if (e.key === "[" || e.key === "]") this.resize(e.key === "]");
    else if (key === "e") this.erasing = !this.erasing;
    else return;
    e.preventDefault();
    this.dispatchEvent(new CustomEvent("painted"));
  }

  #middle() {
    return [this.#veil.width / 2, this.#veil.height / 2];
  }

  #step([dx, dy], painting) {
    const from = this.#spot ?? this.#middle();
    const pace = Math.max(1, Math.round(this.brush / 4));
    const clamp = (value, most) => Math.min(Math.max(0, value), most);
    this.#spot = [clamp(from[0] + dx * pace, this.#veil.width), clamp(from[1] + dy * pace, this.#veil.height)];
    this.#moveRing(this.#spot);
    if (painting) this.#dab(from, false, this.#spot);
  }

  #dab(from, ring, to = from) {
    this.#spot = to;
    this.#value = this.erasing ? 0 : 255;
    this.#remember();
    this.#stroke(from, to);
    if (ring) this.#moveRing(to);
  }
}

customElements.define("mask-painter", Painter);
