// Pictures on their way: files, base64 of the server's JSON, blobs; and <un-picture>, which draws one without a flicker.

/** The bytes of a base64 string as a blob. */
export function blobOf(base64, type = "image/png") {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type });
}

/** A blob as base64, without the head of a data URL. */
export async function base64Of(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

// What the server reads as it is; anything else that the browser can show is handed over as PNG.
const READ = ["image/png", "image/jpeg", "image/webp", "image/bmp", "image/tiff"];

/** A file as a source to edit: {blob, name, width, height}. Throws with one line where it is no picture. */
export async function sourceOf(file, name = file.name ?? "picture.png") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${name} is no picture that this browser can read. PNG, JPEG and WebP are.`);
  }
  const { width, height } = bitmap;
  const blob = READ.includes(file.type) ? file : await pngOf(bitmap);
  bitmap.close();
  return { blob, name, width, height };
}

function pngOf(bitmap) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** Offers a blob as a file to keep. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A source cut to the middle and scaled so that it has the size that is asked for; itself where it has. */
export async function fitted(source, width, height) {
  if (source.width === width && source.height === height) return source;
  const bitmap = await createImageBitmap(source.blob);
  const scale = Math.max(width / source.width, height / source.height);
  const [w, h] = [width / scale, height / scale];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, (source.width - w) / 2, (source.height - h) / 2, w, h, 0, 0, width, height);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return { blob, name: source.name, width, height };
}

// A frame of the walk is one strip with all pictures beside each other. It is decoded once for all tiles that show a
// part of it; only the last few stay decoded, since a long walk of large pictures would fill the memory.
const DECODED = 8;
const decoded = new Map();

function bitmapOf(png) {
  if (decoded.has(png)) return decoded.get(png);
  const bitmap = createImageBitmap(png instanceof Blob ? png : blobOf(png)).catch(() => null);
  decoded.set(png, bitmap);
  if (decoded.size > DECODED) decoded.delete(decoded.keys().next().value);
  return bitmap;
}

/**
 * <un-picture .png=${blob, or {png: base64 of a strip, n: pictures on it}} .part=${which of the strip}>: a canvas of the
 * picture's own pixels, which style.css enlarges. The old picture stays until the new one is decoded, and one that is
 * overtaken by a newer is never drawn.
 */
class Picture extends HTMLElement {
  #png = null;
  #part = 0;
  #turn = 0;
  #due = false;
  #canvas = document.createElement("canvas");

  connectedCallback() {
    if (!this.#canvas.isConnected) this.append(this.#canvas);
  }

  set png(value) {
    if (value !== this.#png) this.#later((this.#png = value));
  }

  set part(value) {
    if (value !== this.#part) this.#later((this.#part = value));
  }

  /** Both properties are set one after the other; the picture is drawn once for both. */
  #later() {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#show();
    });
  }

  async #show() {
    const [turn, png, part] = [++this.#turn, this.#png, this.#part];
    const pen = this.#canvas.getContext("2d");
    if (!png) return pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const bitmap = await bitmapOf(png.png ?? png);
    if (!bitmap || turn !== this.#turn) return;
    const [width, height] = [bitmap.width / (png.n ?? 1), bitmap.height];
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    pen.clearRect(0, 0, width, height);
    pen.drawImage(bitmap, (png.n ? part : 0) * width, 0, width, height, 0, 0, width, height);
  }
}

customElements.define("un-picture", Picture);
