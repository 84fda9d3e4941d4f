// One object holds what the page shows; whoever changes it says so, and the page is drawn once in the next frame.

export const state = {
  models: null, // as the server lists them; null: not asked yet
  limits: {}, // the server's own table
  model: null, // the id of the one in use
  tab: "generate",
  notice: null, // {text, kind: "error" | "busy" | "info"}
  gone: false, // the server does not answer
  shown: null, // the entry on the stage: a running job, or one out of the history
  selected: 0, // which of its pictures
  at: null, // the frame looked back at; null: the newest
  history: [], // entries, newest first
  onlyKept: false,
  smooth: false, // pictures drawn smooth rather than as pixels
  form: { generate: {}, paint: {}, restore: {}, between: {}, vary: {} }, // what is in the fields, by tab
  source: null, // {blob, name, width, height}: the picture to paint on or to restore
  masked: 0, // painted share of it
  ends: { a: null, b: null }, // pictures to travel between
  frame: 0, // of the journey between them
  about: null, // {id, card, facts}: what is known of the model in use
};

let draw = () => {};
let due = false;

/** Takes the changed keys and draws the page in the next frame. */
export function change(keys = {}) {
  Object.assign(state, keys);
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

/** Says who draws. */
export function drawnBy(view) {
  draw = view;
}

/** The entry that the stage of this tab shows: painting and restoring show their own alone. */
export const onStage = () => (["paint", "restore"].includes(state.tab) && state.shown?.tab !== state.tab ? null : state.shown);

/** The model in use, as the server describes it. */
export const model = () => state.models?.find((one) => one.id === state.model) ?? null;
