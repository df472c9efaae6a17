/* All environments at a glance, as they are now. */

import { fill, h, setAttribute, setText } from "../dom.js";
import { count, duration, number, percent, whole } from "../format.js";
import * as hash from "../hash.js";
import { empty, notice, tile } from "../parts.js";
import { ENVIRONMENT_STATUSES, icon, statusOf } from "../status.js";
import { Table } from "../table.js";
import { columns, hrefOf, nameOf } from "./environment_columns.js";

const PARTS = ["environments"];

export function environments({ query, live }) {
  const filter = {
    text: query.get("q") ?? "",
    status: query.get("status") ?? "",
    sort: query.get("sort") ?? "status",
    descending: query.has("descending"),
  };
  const keep = () =>
    hash.replace(PARTS, {
      q: filter.text,
      status: filter.status,
      sort: filter.sort === "status" ? "" : filter.sort,
      descending: filter.descending,
    });

  const tiles = summary();
  const found = h("span", { class: "found", role: "status" });
  const rest = h("div");
  const chips = statusChips(filter, () => {
    keep();
    show();
  });
  const search = h("input", {
    type: "search",
    placeholder: "Filter by model or environment",
    "aria-label": "Filter by model or environment",
    "aria-keyshortcuts": "/",
    value: filter.text,
    on: {
      input: () => {
        filter.text = search.value;
        keep();
        show();
      },
    },
  });
  const table = new Table({
    name: "environments",
    label: "Environments",
    columns: columns(live),
    keyOf: nameOf,
    href: hrefOf,
    heights: [54, 122],
    sort: { name: filter.sort, descending: filter.descending },
    onSort: ({ name, descending }) => {
      Object.assign(filter, { sort: name, descending });
      keep();
    },
  });

  let generation = -1;
  function show() {
    const all = [...live.rows.values()];
    const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    const named = all.filter((row) =>
      words.every((word) => `${nameOf(row)} ${row.deployment}`.toLowerCase().includes(word)),
    );
    const rows = filter.status ? named.filter((row) => row.status === filter.status) : named;
    tiles.update(all);
    chips.update(named);
    setText(
      found,
      rows.length === all.length ? "" : `${whole(rows.length)} of ${count(all.length, "environment")}`,
    );
    table.element.hidden = !rows.length;
    table.show(rows);
    fill(rest, rows.length ? null : nothing(live, all.length));
  }

  const unsubscribe = live.subscribe(() => {
    if (live.generation === generation && live.connection === "live") return;
    generation = live.generation;
    show();
  });
  const element = h(
    "div",
    { class: "view" },
    h("h1", { class: "visually-hidden", text: "Environments" }),
    tiles.element,
    h("div", { class: "filters" }, search, chips.element, found),
    table.element,
    rest,
  );
  return {
    element,
    ready: show,
    close: () => {
      unsubscribe();
      table.close();
    },
  };
}

function nothing(live, known) {
  if (known) return empty("No environment fits the filter", "Another word or status shows more.");
  if (live.problem && live.connection !== "live")
    return notice("error", "The environments are not known", live.problem);
  if (!live.complete) return empty("Loading…");
  return empty("There is no environment", "This key reaches none, or none is deployed.");
}

// Above the table

function summary() {
  const tiles = {
    environments: tile("Environments"),
    requests: tile("Requests"),
    errors: tile("Errors"),
    running: tile("In flight"),
    waiting: tile("Waiting"),
    replicas: tile("Replicas"),
  };
  const element = h(
    "div",
    { class: "tiles" },
    Object.values(tiles).map((each) => each.element),
  );
  const update = (rows) => {
    const sum = (of) => rows.reduce((total, row) => total + (of(row) ?? 0), 0);
    const rate = sum((row) => row.requests_per_s);
    const failing = sum((row) => (row.requests_per_s ?? 0) * (row.error_rate ?? 0));
    const unhealthy = rows.filter((row) => row.status === "UNHEALTHY").length;
    const oldest = Math.max(0, ...rows.map((row) => row.oldest_wait_s ?? 0));
    const desired = sum((row) => row.desired);
    tiles.environments.update(
      whole(rows.length),
      unhealthy ? `${whole(unhealthy)} unhealthy` : "none unhealthy",
    );
    tiles.environments.element.classList.toggle("level-error", unhealthy > 0);
    tiles.requests.update(`${number(rate)} /s`, "");
    tiles.errors.update(rate ? percent(failing / rate) : "–", failing >= 0.05 ? `${number(failing)} /s` : "");
    tiles.running.update(
      whole(sum((row) => row.in_flight)),
      `of ${count(
        sum((row) => row.slots),
        "slot",
      )}`,
    );
    tiles.waiting.update(
      whole(sum((row) => row.waiting)),
      oldest >= 0.05 ? `oldest ${duration(oldest)}` : "",
    );
    tiles.replicas.update(whole(sum((row) => row.replicas?.READY)), `of ${whole(desired)} wanted`);
  };
  return { element, update };
}

function statusChips(filter, changed) {
  const chips = ENVIRONMENT_STATUSES.map((name) => {
    const [level, label] = statusOf(name);
    const amount = h("b");
    const click = () => {
      filter.status = filter.status === name ? "" : name;
      changed();
    };
    const element = h("button", { type: "button", class: "chip", on: { click } }, icon(level), label, amount);
    return { name, amount, element };
  });
  const update = (rows) => {
    for (const { name, amount, element } of chips) {
      const there = rows.filter((row) => row.status === name).length;
      setText(amount, whole(there));
      setAttribute(element, "aria-pressed", String(filter.status === name));
      element.classList.toggle("none", !there && filter.status !== name);
    }
  };
  return {
    element: h(
      "div",
      { class: "chips", role: "group", "aria-label": "Status" },
      chips.map((each) => each.element),
    ),
    update,
  };
}
