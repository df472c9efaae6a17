/* Recent requests of all kinds, with filters that are part of the address. */

import * as api from "../api.js";
import { textCell } from "../cells.js";
import { fill, h, setAttribute, setText } from "../dom.js";
import { bytes, clock, count, duration, fullTime, words } from "../format.js";
import * as hash from "../hash.js";
import { sleep } from "../live.js";
import { choice, empty, failureBox, field, toggle } from "../parts.js";
import { icon, outcomeOf } from "../status.js";
import { Table } from "../table.js";
import { placeFields } from "./places.js";

const PARTS = ["requests"];
const AGAIN_MS = 4000;
const FLAGS = [
  ["errors", "Errors"],
  ["slow", "Slowest"],
  ["cold", "Cold starts"],
  ["retried", "Retried"],
];
const SINCE = [
  ["", "Any time"],
  ["5m", "5 minutes"],
  ["15m", "15 minutes"],
  ["1h", "1 hour"],
  ["6h", "6 hours"],
  ["24h", "24 hours"],
];
const OUTCOMES = [
  "answered",
  "rejected_invalid",
  "rejected_unauthorized",
  "rejected_not_found",
  "rejected_too_large",
  "rejected_queue_full",
  "rejected_no_free_slot",
  "rejected_draining",
  "rejected_queue_unreachable",
  "rejected_store_unreachable",
  "rejected_observatory_unreachable",
  "evicted_park_timeout",
  "evicted_unhealthy",
  "evicted_deadline",
  "evicted_caller_gone",
  "failed_replica_lost",
  "failed_timeout",
  "failed_deadline",
  "failed_caller_gone",
  "failed_internal",
];

export function requests({ query, live, signal }) {
  const filter = {
    model: query.get("model") ?? "",
    environment: query.get("environment") ?? "",
    since: query.get("since") ?? "",
    outcome: query.get("outcome") ?? "",
    slow_ms: query.get("slow_ms") ?? "",
    limit: query.get("limit") ?? "1000",
  };
  for (const [name] of FLAGS) filter[name] = hash.flag(query, name);
  let text = query.get("q") ?? "";
  let following = true;
  let answer = { requests: [], routers: 0, missing: 0 };
  let wanted = 0;

  const found = h("span", { class: "found", role: "status" });
  const rest = h("div");
  const table = new Table({
    name: "requests",
    label: "Requests",
    columns: columns(),
    keyOf: (row) => `${row.request_id} ${row.span_id} ${row.began}`,
    href: (row) => hash.link([...PARTS, row.request_id]),
    heights: [42, 92],
  });
  const failure = failureBox(() => load());

  const change = (name) => (value) => {
    filter[name] = value;
    keep();
    load();
  };
  const keep = () =>
    hash.replace(PARTS, { ...filter, limit: filter.limit === "1000" ? "" : filter.limit, q: text });

  const search = h("input", {
    type: "search",
    placeholder: "Filter these, or open a request id",
    "aria-label": "Filter these requests by id, path, key or replica, or open a request id",
    "aria-keyshortcuts": "/",
    value: text,
    on: {
      input: () => {
        text = search.value;
        keep();
        show();
      },
      keydown: (event) => {
        const id = search.value.trim();
        if (event.key === "Enter" && id) location.hash = hash.link([...PARTS, id]);
      },
    },
  });

  function show() {
    const sought = text.trim().toLowerCase();
    const rows = sought ? answer.requests.filter((row) => haystack(row).includes(sought)) : answer.requests;
    const missing = answer.missing ? `; ${count(answer.missing, "router")} did not answer` : "";
    setText(found, `${count(rows.length, "request")}${missing}`);
    table.element.hidden = !rows.length;
    table.show(rows);
    const none = text
      ? empty("None of these fits", "Enter opens what you typed as a request id.")
      : empty("No request fits the filters", "Routers hold their latest requests; kept ones stay longer.");
    fill(rest, rows.length || !wanted ? null : none);
  }

  async function load() {
    const number = ++wanted;
    try {
      const given = await api.get("/requests", filter, signal);
      if (number !== wanted) return; // another filter was chosen meanwhile
      answer = given;
      failure.show(null);
      show();
    } catch (error) {
      if (!api.isAbort(error) && number === wanted) failure.show(error);
    }
  }

  async function follow() {
    await load();
    while (!signal.aborted) {
      await sleep(AGAIN_MS, signal);
      if (following && !document.hidden && !signal.aborted && scrollY < 200) await load();
    }
  }

  const places = placeFields(live, filter, (name, value) => change(name)(value));
  const element = h(
    "div",
    { class: "view" },
    h("h1", { class: "visually-hidden", text: "Requests" }),
    h(
      "div",
      { class: "filters" },
      search,
      h(
        "div",
        { class: "chips", role: "group", "aria-label": "Only" },
        FLAGS.map(([name, label]) => toggle(label, filter[name], change(name))),
      ),
      places.element,
      field("Ended within", choice(SINCE, filter.since, change("since"))),
      field(
        "Outcome",
        choice(
          [["", "Any"], ...OUTCOMES.map((name) => [name, words(name)])],
          filter.outcome,
          change("outcome"),
        ),
      ),
      field("At least", slowest(filter, change("slow_ms"))),
      h(
        "div",
        { class: "end" },
        found,
        toggle("Follow", following, (on) => (following = on)),
      ),
    ),
    failure.element,
    table.element,
    rest,
  );
  return {
    element,
    ready: follow,
    close: () => {
      table.close();
      places.close();
    },
  };
}

function haystack(row) {
  const { request_id, async_id, method, path, key, trace_id, model, environment, error } = row;
  const told = [request_id, async_id, `${method} ${path}`, key, trace_id, `${model}/${environment}`, error];
  return told.join(" ").toLowerCase();
}

function slowest(filter, change) {
  const input = h("input", {
    type: "number",
    min: "0",
    step: "1",
    inputmode: "numeric",
    placeholder: "ms",
    value: filter.slow_ms,
    on: { change: () => change(input.value) },
  });
  return input;
}

function columns() {
  return [
    { name: "outcome", label: "Status", cell: outcomeCell },
    {
      name: "began",
      label: "Began",
      cell: textCell(
        (row) => clock(row.began),
        (row) => fullTime(row.began),
      ),
    },
    { name: "request", label: "Request", cell: requestCell },
    {
      name: "place",
      label: "Environment",
      cell: textCell((row) => (row.model ? `${row.model}/${row.environment}` : "–")),
    },
    { name: "took", label: "Waited and ran", cell: tookCell() },
    { name: "seconds", label: "Took", right: true, cell: textCell((row) => duration(row.seconds)) },
    { name: "attempts", label: "Attempts", right: true, cell: textCell((row) => String(row.attempts ?? 0)) },
    {
      name: "size",
      label: "In / out",
      right: true,
      cell: textCell((row) => `${bytes(row.bytes_in)} / ${bytes(row.bytes_out)}`),
    },
    { name: "key", label: "Key", cell: textCell((row) => row.key || "–") },
  ];
}

function outcomeCell(cell) {
  const badge = h("span", { class: "badge" });
  cell.append(badge);
  let drawn = "";
  return (row) => {
    const [level, label] = outcomeOf(row);
    const why = row.outcome === "answered" ? "" : words(row.outcome);
    setAttribute(badge, "title", why || null);
    if (drawn === level + label) return;
    drawn = level + label;
    badge.className = `badge level-${level}`;
    fill(badge, icon(level), h("span", { text: label }), h("span", { class: "visually-hidden", text: why }));
  };
}

function requestCell(cell) {
  const link = h("a");
  const tags = h("span", { class: "tags" });
  cell.append(h("span", { class: "line" }, link, tags));
  let drawn = "";
  return (row) => {
    setText(link, `${row.method} ${row.path}`);
    setAttribute(link, "href", hash.link(["requests", row.request_id]));
    setAttribute(link, "title", row.request_id);
    const told = [
      row.kind === "submit" && "async",
      row.cold_start && "cold start",
      row.attempts > 1 && "retried",
      row.kept === "slow" && "slow",
    ].filter(Boolean);
    if (told.join() === drawn) return;
    drawn = told.join();
    fill(
      tags,
      told.map((word) => h("span", { class: "tag", text: word })),
    );
  };
}

/** How much of the time it waited; all bars of the table are on one scale that grows. */
function tookCell() {
  return (cell) => {
    const waited = h("i", { class: "waited" });
    const ran = h("i", { class: "ran" });
    const bar = h("span", { class: "took-bar", "aria-hidden": "true" }, waited, ran);
    cell.append(bar);
    return (row) => {
      // By the logarithm from 1 ms to 100 s: what takes 10 ms and what takes 10 s both show.
      const width = Math.min(Math.max((Math.log10(Math.max(row.seconds, 0.001)) + 3) / 5, 0.02), 1) * 100;
      const share = row.seconds ? Math.min((row.waited_s ?? 0) / row.seconds, 1) : 0;
      waited.style.width = `${width * share}%`;
      ran.style.width = `${width * (1 - share)}%`;
      setAttribute(bar, "title", `waited ${duration(row.waited_s ?? 0)} of ${duration(row.seconds)}`);
    };
  };
}
