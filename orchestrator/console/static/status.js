/* Words, colours and shapes for states. Each state has a shape of its own: colour only helps. */

import { h, s, setAttribute, setText } from "./dom.js";
import { words } from "./format.js";

const SHAPES = {
  ok: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm3.3 5.1-3.9 4.3-2.6-2.5.9-1 1.7 1.6 2.9-3.3Z",
  busy: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm0 1.6v9.8a4.9 4.9 0 0 1 0-9.8Z",
  off: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm0 1.6a4.9 4.9 0 1 1 0 9.8 4.9 4.9 0 0 1 0-9.8Z",
  warn: "M8 1.2 15.2 14H.8L8 1.2Zm-.8 4.6.2 4h1.2l.2-4Zm.8 4.8a.9.9 0 1 0 0 1.8.9.9 0 0 0 0-1.8Z",
  error:
    "M5.2 1.2h5.6l4 4v5.6l-4 4H5.2l-4-4V5.2l4-4Zm.6 3.6-1 1L7 8l-2.2 2.2 1 1L8 9l2.2 2.2 1-1L9 8l2.2-2.2-1-1L8 7Z",
};

const STATUSES = {
  ACTIVE: ["ok", "Active"],
  LOADING_MODEL: ["busy", "Loading"],
  WAKING_UP: ["busy", "Waking up"],
  SCALED_TO_ZERO: ["off", "Asleep"],
  UNHEALTHY: ["error", "Unhealthy"],
  QUEUED: ["off", "Queued"],
  IN_PROGRESS: ["busy", "Running"],
  SUCCEEDED: ["ok", "Succeeded"],
  FAILED: ["error", "Failed"],
  WEBHOOK_FAILED: ["warn", "Webhook failed"],
  EXPIRED: ["warn", "Expired"],
  CANCELED: ["off", "Canceled"],
  PENDING: ["busy", "Pending"],
  READY: ["ok", "Ready"],
  DRAINING: ["off", "Draining"],
  STARTING: ["busy", "Starting"],
  LOADING: ["busy", "Loading"],
  WARMING: ["busy", "Warming"],
  PROVISIONING: ["busy", "Provisioning"],
};

/** Those of environments, the worst first: in this order they are sorted and counted. */
export const ENVIRONMENT_STATUSES = ["UNHEALTHY", "WAKING_UP", "LOADING_MODEL", "ACTIVE", "SCALED_TO_ZERO"];

/** `[level, label]` of a status. */
export function statusOf(name) {
  return STATUSES[name] ?? ["off", name ? words(name) : "Unknown"];
}

/** The shape of a level. */
export function icon(level) {
  const path = s("path", { d: SHAPES[level] ?? SHAPES.off, "fill-rule": "evenodd" });
  return s("svg", { class: `icon level-${level}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

/** A level's shape with words beside it. */
export function badge(level, label) {
  return h("span", { class: `badge level-${level}` }, icon(level), h("span", { text: label }));
}

/** A badge for a status that follows it: `update(name)`. */
export function statusBadge() {
  const path = s("path", { "fill-rule": "evenodd" });
  const label = h("span");
  const shape = s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
  const element = h("span", { class: "badge" }, shape, label);
  const update = (name) => {
    const [level, text] = statusOf(name);
    setAttribute(path, "d", SHAPES[level]);
    setAttribute(shape, "class", `icon level-${level}`);
    setAttribute(element, "class", `badge level-${level}`);
    setText(label, text);
  };
  return { element, update };
}

/** How bad a request's end is: `[level, label]`. */
export function outcomeOf(request) {
  const { status, outcome } = request;
  if (!status && outcome && !outcome.includes("_") && outcome !== "answered") return ["busy", words(outcome)];
  if (outcome === "answered" && status < 400) return ["ok", String(status)];
  if (outcome === "answered") return [status >= 500 ? "error" : "warn", String(status)];
  const own = outcome?.startsWith("rejected") && status < 499;
  return [own ? "warn" : "error", status ? String(status) : "cut off"];
}
