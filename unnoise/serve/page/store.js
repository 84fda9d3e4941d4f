// The history lives in this browser alone (IndexedDB): entries of plain values and the pictures as blobs.

const NAME = "unnoise";
const MOST = 200; // entries that are not kept on purpose

let opened = null;

function database() {
  opened ??= new Promise((done, failed) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("made", { keyPath: "id" });
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
  return opened;
}

async function ask(mode, what) {
  const base = await database();
  return new Promise((done, failed) => {
    const request = what(base.transaction("made", mode).objectStore("made"));
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

/** All entries, newest first; none where the browser keeps nothing (a private window may refuse). */
export async function entries() {
  try {
    return (await ask("readonly", (made) => made.getAll())).sort((a, b) => b.at - a.at);
  } catch {
    return [];
  }
}

/** Writes one entry, and lets go of the oldest that nobody kept. True where the browser took it. */
export async function remember(entry) {
  try {
    await ask("readwrite", (made) => made.put(entry));
    const old = (await entries()).filter((one) => !one.rows.some((row) => row.kept)).slice(MOST);
    for (const one of old) await forget(one.id);
    return true;
  } catch {
    return false;
  }
}

/** Deletes one entry. */
export const forget = (id) => ask("readwrite", (made) => made.delete(id)).catch(() => {});
