/* What the table of environments shows of each. */

import { fill, h, setAttribute, setText } from "../dom.js";
import { age, ago, count, duration, number, percent, whole } from "../format.js";
import * as hash from "../hash.js";
import { spark } from "../spark.js";
import { ENVIRONMENT_STATUSES, statusBadge } from "../status.js";

const STAGES = ["READY", "WARMING", "LOADING", "STARTING", "PROVISIONING", "DRAINING"];
const RESOURCES = { num_gpus: "GPU", num_cpus: "CPU" };

export const nameOf = (row) => `${row.model}/${row.environment}`;
export const hrefOf = (row) => hash.link(["environments", row.model, row.environment]);

/** Those of the table; ages are told by the API's clock, which `live` knows. */
export function columns(live) {
  return [
    { name: "environment", label: "Environment", value: nameOf, cell: nameCell },
    {
      name: "status",
      label: "Status",
      value: (row) => `${ENVIRONMENT_STATUSES.indexOf(row.status)}`,
      cell: statusCell,
    },
    {
      name: "replicas",
      label: "Replicas",
      value: (row) => row.replicas?.READY ?? 0,
      descending: true,
      cell: replicasCell,
    },
    {
      name: "running",
      label: "In flight",
      right: true,
      value: (row) => row.in_flight,
      descending: true,
      cell: runningCell,
    },
    {
      name: "waiting",
      label: "Waiting",
      right: true,
      value: (row) => row.waiting,
      descending: true,
      cell: waitingCell,
    },
    {
      name: "rate",
      label: "Requests",
      right: true,
      value: (row) => row.requests_per_s,
      descending: true,
      cell: rateCell,
    },
    {
      name: "errors",
      label: "Errors",
      right: true,
      value: (row) => row.error_rate,
      descending: true,
      cell: errorsCell,
    },
    { name: "p95", label: "p95", right: true, value: (row) => row.p95_s, descending: true, cell: p95Cell },
    {
      name: "decision",
      label: "Last decision",
      value: (row) => row.decision?.at ?? 0,
      descending: true,
      cell: decisionCell(live),
    },
  ];
}

function nameCell(cell) {
  const model = h("span", { class: "model" });
  const environment = h("b");
  const link = h("a", {}, model, environment);
  const deployment = h("span", { class: "sub" });
  cell.append(link, deployment);
  return (row) => {
    setText(model, `${row.model}/`);
    setText(environment, row.environment);
    setAttribute(link, "href", hrefOf(row));
    setAttribute(link, "title", nameOf(row));
    setText(deployment, `runs ${row.deployment}`);
  };
}

function statusCell(cell) {
  const badge = statusBadge();
  const why = h("span", { class: "sub" });
  cell.append(badge.element, why);
  return (row) => {
    badge.update(row.status);
    const text = reasonOf(row);
    setText(why, text);
    setAttribute(why, "title", text || null);
  };
}

/** What keeps an environment from what it should be. */
function reasonOf(row) {
  if (row.status === "UNHEALTHY") return row.reason ?? "";
  const missing = row.provisioning;
  if (!missing?.count) return "";
  const needs = Object.entries(missing.needs ?? {}).filter(([, amount]) => amount);
  const told = needs.map(([name, amount]) => `${number(amount)} ${RESOURCES[name] ?? name}`).join(" and ");
  return `${age(missing.for_s)} for ${told || count(missing.count, "replica")}`;
}

function replicasCell(cell) {
  const text = h("span");
  const pips = h("span", { class: "pips", "aria-hidden": "true" });
  const other = h("span", { class: "sub" });
  cell.append(h("span", { class: "line" }, text, pips), other);
  let drawn = "";
  return (row) => {
    const stages = row.replicas ?? {};
    setText(text, `${whole(stages.READY ?? 0)} of ${whole(row.desired)}`);
    const told = STAGES.slice(1).filter((stage) => stages[stage]);
    setText(other, told.map((stage) => `${stages[stage]} ${stage.toLowerCase()}`).join(", "));
    const all = STAGES.flatMap((stage) => Array(Math.min(stages[stage] ?? 0, 8)).fill(stage)).slice(0, 8);
    const key = all.join();
    if (key !== drawn)
      fill(
        pips,
        all.map((stage) => h("i", { class: `pip stage-${stage.toLowerCase()}` })),
      );
    drawn = key;
  };
}

function runningCell(cell) {
  const text = h("span");
  const bar = h("i");
  const meter = h("span", { class: "meter", "aria-hidden": "true" }, bar);
  cell.append(text, meter);
  return (row) => {
    setText(text, row.slots ? `${whole(row.in_flight)} / ${whole(row.slots)}` : whole(row.in_flight));
    const share = row.slots ? Math.min(row.in_flight / row.slots, 1) : 0;
    bar.style.width = `${share * 100}%`;
    meter.classList.toggle("full", share >= 1);
  };
}

function waitingCell(cell) {
  const text = h("span");
  const oldest = h("span", { class: "sub" });
  cell.append(text, oldest);
  return (row) => {
    setText(text, whole(row.waiting));
    setText(oldest, row.waiting ? `oldest ${duration(row.oldest_wait_s)}` : "");
    cell.classList.toggle("quiet-value", !row.waiting);
  };
}

function withSpark(cell, tone, text, values) {
  const value = h("span");
  const line = spark(tone);
  cell.append(h("span", { class: "with-spark" }, line.element, value));
  return (row) => {
    setText(value, text(row));
    line.update(values(row));
    cell.classList.toggle("quiet-value", !row.requests_per_s);
  };
}

const rateCell = (cell) =>
  withSpark(
    cell,
    "tone-1",
    (row) => `${number(row.requests_per_s)} /s`,
    (row) => row.spark?.requests,
  );
const p95Cell = (cell) =>
  withSpark(
    cell,
    "tone-2",
    (row) => duration(row.p95_s),
    (row) => row.spark?.p95,
  );

function errorsCell(cell) {
  const text = h("span");
  cell.append(text);
  return (row) => {
    setText(text, row.requests_per_s || row.error_rate ? percent(row.error_rate ?? 0) : "–");
    cell.classList.toggle("bad", (row.error_rate ?? 0) >= 0.01);
    cell.classList.toggle("quiet-value", !row.error_rate);
  };
}

function decisionCell(live) {
  return (cell) => {
    const what = h("span");
    const why = h("span", { class: "sub" });
    cell.append(what, why);
    return (row) => {
      const made = row.decision;
      const when = made?.at ? `, ${ago(made.at, live.now())}` : "";
      setText(what, made ? `${count(made.desired, "replica")}${when}` : "–");
      setText(why, made?.reason ?? "");
      setAttribute(why, "title", made?.reason || null);
    };
  };
}
