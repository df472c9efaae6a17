/* One request: what happened to it, step by step. */

import * as api from "../api.js";
import { announce, fill, h, setText } from "../dom.js";
import { clock, count, duration, fullTime, words } from "../format.js";
import * as hash from "../hash.js";
import { sleep } from "../live.js";
import { copyable, failureBox, instead, notice, section } from "../parts.js";
import { badge, icon, statusOf } from "../status.js";
import { fact, Waterfall } from "../waterfall.js";

const AGAIN_MS = 1000;
const OVER = new Set(["ended", ""]);

export function request({ parts, live, signal }) {
  const id = parts[1];
  const head = h("div");
  const body = h("div", { class: "view" });
  const waterfall = new Waterfall();
  const failure = failureBox(() => load());
  let drawn = false;

  async function load() {
    let view;
    try {
      view = await api.get(`/requests/${api.part(id)}/timeline`, {}, signal);
    } catch (error) {
      if (api.isAbort(error)) return true;
      if (error.status === 404) fill(body, unknown(id));
      else if (error.status === 400) fill(body, instead("warn", "That is no request id", error.message));
      else failure.show(error);
      return error.status === 404 || error.status === 400;
    }
    failure.show(null);
    fill(head, heading(view));
    if (!drawn) fill(body, page(waterfall, live));
    drawn = true;
    refresh(body, view, waterfall, live.now());
    announce(view.summary);
    return isOver(view);
  }

  async function follow() {
    while (!signal.aborted && !(await load())) await sleep(AGAIN_MS, signal);
  }

  const element = h(
    "div",
    { class: "view" },
    h(
      "nav",
      { class: "crumbs", "aria-label": "Breadcrumb" },
      h("a", { href: "#/requests", text: "Requests" }),
      " / ",
      h("span", { text: id }),
    ),
    head,
    failure.element,
    body,
  );
  return { element, ready: follow };
}

function isOver(view) {
  const waitsForWebhook = view.kind === "async" && view.bars.some((bar) => bar.seconds === null);
  return OVER.has(view.state) && !waitsForWebhook;
}

function unknown(id) {
  return instead(
    "warn",
    "This request is not known",
    `Nothing is known of ${id}: it never came here, or its record has expired. Routers hold their ` +
      "latest requests; only errors, retries, cold starts and slow ones are kept longer.",
    h("a", { href: "#/requests", text: "Recent requests" }),
  );
}

function heading(view) {
  return h(
    "div",
    { class: "title" },
    h("h1", {}, shape(view), h("span", { text: view.error ? titleOf(view) : sentence(view.summary) })),
    view.error ? h("p", { class: "lead", text: sentence(view.summary) }) : null,
  );
}

function titleOf(view) {
  return sentence(view.error);
}

function sentence(text) {
  const end = /[.!?…]$/.test(text) ? "" : ".";
  return text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}` : "";
}

function shape(view) {
  const level = view.level === "muted" ? "off" : view.level || "ok";
  return icon(OVER.has(view.state) ? level : "busy");
}

function page(waterfall) {
  return [
    h("dl", { class: "facts strip", "data-part": "facts" }),
    h("div", { "data-part": "place" }),
    section(
      "Timeline",
      h("p", { class: "help", text: "A step opens on what is known of it." }),
      waterfall.element,
    ),
    h("div", { "data-part": "links" }),
    h(
      "details",
      { class: "raw" },
      h("summary", { text: "The record as JSON" }),
      h("pre", { tabindex: "0", "data-part": "raw" }),
    ),
  ];
}

function refresh(body, view, waterfall, now) {
  const part = (name) => body.querySelector(`[data-part=${name}]`);
  fill(part("facts"), facts(view));
  fill(part("place"), place(view));
  fill(part("links"), links(view));
  waterfall.show(view.bars, view.axis, now);
  setText(part("raw"), JSON.stringify(view.raw, null, 2));
}

function facts(view) {
  const where = view.model
    ? h("a", {
        href: hash.link(["environments", view.model, view.environment]),
        text: `${view.model}/${view.environment}`,
      })
    : "–";
  const state = OVER.has(view.state) ? words(view.outcome) : words(view.state);
  const shown = [
    fact("status", view.kind === "async" ? badge(...statusOf(view.outcome)) : (view.status ?? "none yet")),
    fact(OVER.has(view.state) ? "outcome" : "state", state),
    fact("environment", where),
    view.deployment ? fact("deployment", view.deployment) : null,
    fact(
      "began",
      h("time", { datetime: fullTime(view.began), title: fullTime(view.began), text: clock(view.began) }),
    ),
    fact(OVER.has(view.state) ? "took" : "so far", duration(view.seconds)),
  ];
  for (const [name, value] of view.facts ?? []) {
    if (!["environment", "deployment", "began", "took", "status", "outcome", "trace"].includes(name))
      shown.push(fact(name, value));
  }
  shown.push(fact("request id", copyable(view.request_id, "the request id")));
  if (view.trace_id) shown.push(fact("trace id", copyable(view.trace_id, "the trace id")));
  return shown;
}

function place(view) {
  if (!view.place) return null;
  const ahead = view.place.ahead;
  return notice(
    "busy",
    "It is in line",
    ahead ? `${count(ahead, "request")} before it.` : "It is the next one.",
  );
}

function links(view) {
  const found = [];
  if (view.async_id && view.async_id !== view.request_id) {
    found.push(
      h("a", {
        href: hash.link(["requests", view.async_id]),
        text: `The asynchronous request ${view.async_id}`,
      }),
    );
  }
  if (view.others)
    found.push(
      h("span", { text: `${count(view.others, "other request")} with the same id: this is the latest.` }),
    );
  return found.length ? h("p", { class: "help" }, found) : null;
}
