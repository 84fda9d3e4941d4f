// The server's answers as values, its errors as one line each.

/** What the server refused, or that it does not answer: {message, status (0: no answer), wait (seconds, where it says)}. */
export class Refused extends Error {
  constructor(message, status, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

const SAID = {
  401: "This visit has ended. Open the link that `unnoise serve` printed once more, or start it anew for a fresh one.",
  503: "The server is shutting down.",
};

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is `unnoise serve` still running?", 0);
  }
  if (answer.ok) return answer;
  const { error = {} } = await answer.json().catch(() => ({}));
  const wait = Number(error.retry_after ?? answer.headers.get("Retry-After")) || null;
  throw new Refused(SAID[answer.status] ?? error.message ?? `The server answered ${answer.status}.`, answer.status, wait);
}

const json = async (path, options) => (await ask(path, options)).json();

export const models = async () => (await json("/v1/models")).data;
export const details = (id) => json(`/v1/models/${id}`);
export const limits = () => json("/v1/limits");
export const card = async (id) => (await json(`/v1/models/${id}/card`)).markdown;
export const job = (id) => json(`/v1/jobs/${id}`);
export const stop = (id) => json(`/v1/jobs/${id}`, { method: "DELETE" });
export const blob = async (url) => (await ask(url, { cache: "default" })).blob();

/** Hands a picture over and gets its id. */
export const upload = async (picture, signal) =>
  (await json("/v1/pictures", { method: "POST", body: picture, headers: { "Content-Type": picture.type }, signal })).id;

/** Orders a task; the job. */
export const order = (task, request, signal) =>
  json(`/v1/${task}`, { method: "POST", body: JSON.stringify(request), headers: { "Content-Type": "application/json" }, signal });

/** How probable a picture is: bits for each of its numbers. */
export const likelihood = async (model, picture, cond) => (await json("/v1/likelihood", {
  method: "POST", body: JSON.stringify({ model, picture, cond }), headers: { "Content-Type": "application/json" },
})).likelihood;

/** Whether the server answers at all. */
export const alive = () => fetch("/healthz", { cache: "no-store" }).then((answer) => answer.ok, () => false);
