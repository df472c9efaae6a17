/* One environment: its last minutes, its replicas and how they started, and what it goes by. */

import * as api from "../api.js";
import { Chart, Cursor } from "../chart.js";
import { fill, h, setText } from "../dom.js";
import { duration, number, percent, whole } from "../format.js";
import * as hash from "../hash.js";
import { sleep } from "../live.js";
import { failureBox, notice, section, tile } from "../parts.js";
import { statusBadge } from "../status.js";
import {
  decisionsTable,
  deploymentsTable,
  queueTable,
  replicasTable,
  settingsGrid,
  startsTable,
} from "./environment_parts.js";
import { logs } from "./logs.js";

const AGAIN_MS = 5000;

export function environment({ parts, live, signal }) {
  const [, model, name] = parts;
  const path = `/models/${api.part(model)}/environments/${api.part(name)}`;
  const badge = statusBadge();
  const runs = h("span", { class: "note" });
  const why = h("div");
  const tiles = figures();
  const cursor = new Cursor();
  const charts = makeCharts(cursor);
  const failure = failureBox(() => load());
  const places = Object.fromEntries(
    ["replicas", "starts", "decisions", "queue", "deployments", "settings"].map((each) => [each, h("div")]),
  );

  function showRow() {
    const row = live.rows.get(`${model}/${name}`);
    if (!row) {
      if (live.complete)
        fill(
          why,
          notice(
            "warn",
            "This environment is not there",
            "It is not deployed, or this key does not reach it.",
          ),
        );
      return;
    }
    badge.update(row.status);
    setText(runs, `runs ${row.deployment}`);
    tiles.update(row);
    const reason = row.status === "UNHEALTHY" ? row.reason : "";
    if (why.dataset.told !== (reason || "")) {
      why.dataset.told = reason || "";
      fill(why, reason ? notice("error", "No replica starts", reason) : null);
    }
  }

  async function loadHistory(overview) {
    const history = await api.get(`${path}/history`, { minutes: 15 }, signal);
    const marks = (history.decisions ?? []).map((each) => ({
      at: each.at,
      label: `${each.before} to ${each.desired}: ${each.reason}`,
    }));
    const values = { ...history.series };
    for (const each of ["requests", "errors"])
      values[each] = values[each]?.map((amount) => amount / history.step_s);
    for (const chart of charts) {
      const marked = chart.marked ? marks : [];
      chart.update({ end: history.end, step: history.step_s, values, marks: marked });
    }
    fill(places.replicas, replicasTable(history.replicas ?? [], live.now()));
    fill(places.starts, startsTable(history.starts ?? [], live.now()));
    fill(places.decisions, decisionsTable(history.decisions ?? [], live.now()));
    fill(places.queue, queueTable(history.queue ?? []));
    fill(places.deployments, deploymentsTable(await overview, name, history.replicas ?? []));
  }

  async function load() {
    const overview = api.get(`/models/${api.part(model)}`, {}, signal);
    const loadSettings = async () => fill(places.settings, settingsGrid(await api.get(path, {}, signal)));
    // What one part of the system does not tell does not hide what the others do.
    const ends = await Promise.allSettled([loadHistory(overview), loadSettings(), overview]);
    if (!signal.aborted) failure.show(ends.find((each) => each.status === "rejected")?.reason ?? null);
  }

  async function follow() {
    showRow();
    await load();
    while (!signal.aborted) {
      await sleep(AGAIN_MS, signal);
      // A list that somebody reads with the keyboard is not taken from under him.
      const reading = document.activeElement?.closest("details[open], .scroll");
      if (!document.hidden && !signal.aborted && !reading) await load();
    }
  }

  const unsubscribe = live.subscribe(showRow);
  const element = h(
    "div",
    { class: "view" },
    h(
      "nav",
      { class: "crumbs", "aria-label": "Breadcrumb" },
      h("a", { href: "#/environments", text: "Environments" }),
      ` / ${model}`,
    ),
    h(
      "div",
      { class: "title" },
      h(
        "h1",
        {},
        h("span", { class: "model", text: `${model}/` }),
        h("span", { text: name }),
        badge.element,
        runs,
      ),
      h("a", {
        class: "button",
        href: hash.link(["requests"], { model, environment: name }),
        text: "Its requests",
      }),
    ),
    why,
    tiles.element,
    failure.element,
    h(
      "div",
      { class: "charts" },
      charts.map((chart) => chart.element),
    ),
    section("Replicas", places.replicas),
    h(
      "div",
      { class: "columns" },
      h("div", {}, section("Starts", places.starts)),
      h(
        "div",
        {},
        section("Queue", places.queue),
        section("Deployments", places.deployments),
        section("Scaling decisions", places.decisions),
      ),
    ),
    section("Settings", places.settings),
    logs({ path, signal }),
  );
  return {
    element,
    ready: follow,
    close: () => {
      unsubscribe();
      for (const chart of charts) chart.close();
    },
  };
}

function figures() {
  const tiles = {
    requests: tile("Requests"),
    errors: tile("Errors"),
    p95: tile("p95"),
    running: tile("In flight"),
    waiting: tile("Waiting"),
    replicas: tile("Replicas"),
  };
  const update = (row) => {
    tiles.requests.update(
      `${number(row.requests_per_s)} /s`,
      row.cold_starts ? `${whole(row.cold_starts)} after a cold start` : "",
    );
    tiles.errors.update(row.requests_per_s ? percent(row.error_rate) : "–", "");
    tiles.p95.update(duration(row.p95_s), "");
    tiles.running.update(whole(row.in_flight), `of ${whole(row.slots)} slots`);
    tiles.waiting.update(whole(row.waiting), row.waiting ? `oldest ${duration(row.oldest_wait_s)}` : "");
    tiles.replicas.update(whole(row.replicas?.READY ?? 0), `of ${whole(row.desired)} wanted`);
  };
  return {
    element: h(
      "div",
      { class: "tiles" },
      Object.values(tiles).map((each) => each.element),
    ),
    update,
  };
}

function makeCharts(cursor) {
  const rate = (value) => `${number(value)} /s`;
  const requests = new Chart({
    title: "Requests per second",
    cursor,
    format: rate,
    series: [
      { name: "requests", label: "requests", tone: "tone-1", area: true },
      { name: "errors", label: "errors", tone: "tone-4", dashed: true },
    ],
  });
  const latency = new Chart({
    title: "Time to answer",
    cursor,
    floor: 0.01,
    format: duration,
    series: [
      { name: "p50", label: "p50", tone: "tone-3" },
      { name: "p95", label: "p95", tone: "tone-2" },
    ],
  });
  const load = new Chart({
    title: "Load",
    cursor,
    whole: true,
    format: number,
    series: [
      { name: "in_flight", label: "in flight", tone: "tone-1", area: true },
      { name: "waiting", label: "waiting", tone: "tone-2", dashed: true },
    ],
  });
  const replicas = new Chart({
    title: "Replicas and decisions",
    cursor,
    whole: true,
    format: number,
    series: [
      { name: "ready", label: "ready", tone: "tone-3", area: true, step: true },
      { name: "desired", label: "wanted", tone: "tone-5", step: true, dashed: true },
    ],
  });
  replicas.marked = true;
  return [requests, latency, load, replicas];
}
