/* Asynchronous requests as the store has them, a page at a time. */

import * as api from "../api.js";
import { idCell, textCell } from "../cells.js";
import { fill, h, setText } from "../dom.js";
import { clock, count, duration, fullTime, unix } from "../format.js";
import * as hash from "../hash.js";
import { choice, empty, failureBox, field } from "../parts.js";
import { statusBadge } from "../status.js";
import { Table } from "../table.js";
import { pager } from "./pager.js";
import { placeFields } from "./places.js";

const PARTS = ["async"];
const STATES = [
  ["", "Any"],
  ["QUEUED", "Queued"],
  ["IN_PROGRESS", "Running"],
  ["SUCCEEDED", "Succeeded"],
  ["FAILED", "Failed"],
  ["EXPIRED", "Expired"],
  ["CANCELED", "Canceled"],
];
const WEBHOOKS = {
  PENDING: "pending",
  SUCCEEDED: "delivered",
  FAILED: "given up",
  CANCELED: "canceled",
  NO_WEBHOOK_PROVIDED: "none",
};

export function asyncRequests({ query, live, signal }) {
  const filter = {
    model: query.get("model") ?? "",
    environment: query.get("environment") ?? "",
    status: query.get("status") ?? "",
  };
  const found = h("span", { class: "found", role: "status" });
  const rest = h("div");
  const failure = failureBox(() => pages.restart());
  const table = new Table({
    name: "async",
    label: "Asynchronous requests",
    columns: columns(),
    keyOf: (row) => row.request_id,
    href: (row) => hash.link(["requests", row.request_id]),
    heights: [44, 92],
  });
  const pages = pager({
    fetch: (cursor) => api.get("/async_requests", { ...filter, cursor, limit: 200 }, signal),
    rowsOf: (answer) => answer.async_requests,
    show: (rows, more) => {
      failure.show(null);
      setText(found, more ? `${count(rows.length, "request")} so far` : count(rows.length, "request"));
      table.element.hidden = !rows.length;
      table.show(rows);
      fill(
        rest,
        rows.length || more
          ? null
          : empty("No asynchronous request fits", "They are kept for a while after their end."),
      );
    },
    fail: failure.show,
  });
  const change = (name) => (value) => {
    filter[name] = value;
    hash.replace(PARTS, filter);
    pages.restart();
  };
  const places = placeFields(live, filter, (name, value) => change(name)(value));
  const element = h(
    "div",
    { class: "view" },
    h("h1", { class: "visually-hidden", text: "Asynchronous requests" }),
    h(
      "div",
      { class: "filters" },
      field("Status", choice(STATES, filter.status, change("status"))),
      places.element,
      h(
        "div",
        { class: "end" },
        found,
        h("button", {
          type: "button",
          class: "button",
          text: "Refresh",
          on: { click: () => pages.restart() },
        }),
      ),
    ),
    failure.element,
    table.element,
    rest,
    pages.element,
  );
  return {
    element,
    ready: pages.restart,
    close: () => {
      table.close();
      places.close();
    },
  };
}

function columns() {
  return [
    { name: "status", label: "Status", cell: badgeCell },
    {
      name: "created",
      label: "Accepted",
      cell: textCell(
        (row) => clock(unix(row.created_at)),
        (row) => fullTime(unix(row.created_at)),
      ),
    },
    {
      name: "request",
      label: "Request",
      cell: idCell(
        (row) => row.request_id,
        (row) => hash.link(["requests", row.request_id]),
      ),
    },
    { name: "place", label: "Environment", cell: textCell((row) => `${row.model_id}/${row.environment}`) },
    {
      name: "took",
      label: "Until then",
      right: true,
      cell: textCell((row) => duration(Math.max(unix(row.status_at) - unix(row.created_at), 0))),
    },
    { name: "attempts", label: "Attempts", right: true, cell: textCell((row) => String(row.attempts)) },
    {
      name: "webhook",
      label: "Webhook",
      cell: textCell((row) => WEBHOOKS[row.webhook_status] ?? row.webhook_status),
    },
    { name: "note", label: "Note", cell: textCell(noteOf) },
  ];
}

function noteOf(row) {
  if (row.errors.length) return row.errors.map((error) => `${error.code}: ${error.message}`).join("; ");
  return row.queue_position === null || row.queue_position === undefined
    ? ""
    : `${row.queue_position} before it`;
}

function badgeCell(cell) {
  const badge = statusBadge();
  cell.append(badge.element);
  return (row) => badge.update(row.status);
}
