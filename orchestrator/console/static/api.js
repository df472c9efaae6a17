/* The one place that talks to the API: the key, deadlines and what refusals mean. */

const BASE = new URL("../api/v1", import.meta.url).href;
const KEY = "orchestrator.key";
const DEADLINE_MS = 15000;

/** A request that was refused or did not get through; `status` 0: no answer. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const refusals = new Set();

/** Calls `listener(message)` when a key is needed: there is none, or it is not accepted. */
export function onRefused(listener) {
  refusals.add(listener);
}

/** The key lives as long as the tab. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

function headers(given) {
  const held = key.get();
  return held ? { ...given, authorization: `Bearer ${held}` } : given;
}

/** The address of a part of the API; `query` without what is empty. */
export function address(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "" && value !== false) parameters.set(name, value);
  }
  const text = parameters.toString();
  return `${BASE}${path}${text ? `?${text}` : ""}`;
}

async function checked(response) {
  if (response.ok) return response;
  const message = await sentence(response);
  if (response.status === 401) {
    for (const listener of refusals) listener(key.get() ? "This key is not accepted." : "");
  }
  throw new ApiError(response.status, message);
}

/** What an answer says that went wrong. */
async function sentence(response) {
  try {
    const body = await response.json();
    const error = body.error;
    if (typeof error === "string") return error;
    if (error && typeof error.message === "string") return error.message;
    if (typeof body.message === "string") return body.message;
  } catch {
    // Not JSON: a proxy's page, perhaps. The status must do.
  }
  return `The API answered ${response.status}.`;
}

async function send(path, query, init, signal) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const either = signal ? AbortSignal.any([signal, deadline]) : deadline;
  let response;
  try {
    response = await fetch(address(path, query), { ...init, signal: either, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = deadline.aborted;
    throw new ApiError(0, late ? "The API did not answer in time." : "The API cannot be reached.");
  }
  return checked(response);
}

/** GET as JSON. `signal` ends it; then it throws an AbortError. */
export async function get(path, query = {}, signal = undefined) {
  const response = await send(path, query, { headers: headers({ accept: "application/json" }) }, signal);
  return response.json();
}

/** POST as JSON. */
export async function post(path, body = {}) {
  const init = {
    method: "POST",
    headers: headers({ accept: "application/json", "content-type": "application/json" }),
    body: JSON.stringify(body),
  };
  return (await send(path, {}, init)).json();
}

/** A stream of bytes without a deadline of its own; the caller ends it with `signal`. */
export async function open(path, query, accept, signal) {
  let response;
  try {
    response = await fetch(address(path, query), { headers: headers({ accept }), signal, cache: "no-store" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, "The API cannot be reached.");
  }
  return (await checked(response)).body;
}

/** A name as a part of a path. */
export const part = encodeURIComponent;

/** Whether an error only says that nobody wants the answer any more. */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
