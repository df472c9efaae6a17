/* The lists of an environment's page. */

import { h } from "../dom.js";
import { age, ago, bytes, duration, fullTime, percent, whole, words } from "../format.js";
import * as hash from "../hash.js";
import { empty } from "../parts.js";
import { badge, statusOf } from "../status.js";
import { stageBar, stageLegend, stageWords, totalOf } from "../stages.js";

const SHOWN_STARTS = 20;
const SHOWN_DECISIONS = 20;

/** A table of a few rows: `heads` are `[label, right?]`. */
function small(label, heads, rows) {
  const cells = heads.map(([text, right]) => h("th", { scope: "col", class: right ? "right" : null, text }));
  const table = h(
    "table",
    { class: "table", "aria-label": label },
    h("thead", {}, h("tr", {}, cells)),
    h("tbody", {}, rows),
  );
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
}

function row(cells, right = []) {
  return h(
    "tr",
    {},
    cells.map((cell, index) => h("td", { class: right.includes(index) ? "right" : null }, cell)),
  );
}

export function replicasTable(replicas, now) {
  if (!replicas.length)
    return empty("No replica runs", "The next request starts one, unless none can be started.");
  const longest = Math.max(...replicas.map((each) => totalOf(each.stages ?? {})), 0.001);
  const heads = [
    ["Replica"],
    ["Stage"],
    ["Start"],
    ["In flight", true],
    ["Slots", true],
    ["Permits", true],
    ["Age", true],
    ["Address"],
  ];
  const rows = replicas.map((each) => {
    const [level, label] = statusOf(each.stage);
    const stage = each.suspect ? badge("warn", "Silent") : badge(level, label);
    return row(
      [
        h("span", {}, h("code", { text: each.id }), h("span", { class: "sub", text: each.deployment })),
        stage,
        startCell(each, longest),
        whole(each.in_flight),
        whole(each.slots),
        whole(each.permits),
        age(ageOf(each, now)),
        h("code", { text: each.address ?? "–" }),
      ],
      [3, 4, 5, 6],
    );
  });
  return [stageLegend(), small("Replicas", heads, rows)];
}

function ageOf(replica, now) {
  const since = replica.started ?? replica.born_at;
  return since ? now - since : replica.age_s;
}

function startCell(each, longest) {
  const stages = each.stages ?? {};
  const said = stageWords(stages);
  return h(
    "div",
    { class: "start" },
    stageBar(stages, longest, each.stage),
    h("span", { class: "sub", text: said || "just begun" }),
  );
}

export function startsTable(starts, now) {
  if (!starts.length) return empty("No start is remembered");
  const latest = starts.toSorted((a, b) => b.at - a.at).slice(0, SHOWN_STARTS);
  const longest = Math.max(...latest.map((each) => totalOf(each.stages ?? {})), 0.001);
  const rows = latest.map((each) => {
    const failed = each.result === "failed";
    return row(
      [
        badge(
          failed ? "error" : each.result === "ready" ? "ok" : "busy",
          failed ? "Failed" : each.result === "ready" ? "Ready" : "Starting",
        ),
        h(
          "div",
          { class: "start" },
          stageBar(each.stages ?? {}, longest),
          h("span", { class: "sub", text: stageWords(each.stages ?? {}) }),
        ),
        duration(each.seconds),
        h(
          "span",
          {},
          h("time", { title: fullTime(each.at), text: ago(each.at, now) }),
          h("span", { class: "sub why", text: each.reason || `${each.deployment ?? ""} ${each.replica}` }),
        ),
      ],
      [2],
    );
  });
  return [stageLegend(), small("Starts", [["Result"], ["Stages"], ["Took", true], ["When"]], rows)];
}

export function decisionsTable(decisions, now) {
  if (!decisions.length) return empty("Nothing was decided lately");
  const latest = decisions.toSorted((a, b) => b.at - a.at).slice(0, SHOWN_DECISIONS);
  const rows = latest.map((each) => {
    const up = each.desired > each.before;
    const change = h(
      "span",
      { class: "change" },
      `${each.before} `,
      h("span", { "aria-label": "to", text: up ? "↗" : "↘" }),
      ` ${each.desired}`,
    );
    return row([
      change,
      h("span", { class: "reason-text", text: each.reason }),
      h("time", { title: fullTime(each.at), text: ago(each.at, now) }),
    ]);
  });
  return small("Scaling decisions", [["Replicas"], ["Because"], ["When"]], rows);
}

export function queueTable(classes) {
  const names = { sync: "Synchronous", async: "Asynchronous" };
  const rows = classes.map((each) =>
    row(
      [
        names[each.class] ?? each.class,
        whole(each.waiting),
        whole(each.in_flight),
        each.waiting ? duration(each.oldest_s) : "–",
      ],
      [1, 2, 3],
    ),
  );
  return small(
    "Queue by class",
    [["Class"], ["Waiting", true], ["Running", true], ["Oldest waits", true]],
    rows,
  );
}

/** Which deployment runs where; here also how far a change has come. */
export function deploymentsTable(model, name, replicas) {
  const here = model.environments.find((each) => each.name === name)?.deployment;
  const rows = model.deployments.map((deployment) => {
    const users = model.environments.filter((each) => each.deployment === deployment);
    const links = users.flatMap((each, index) => [
      index ? ", " : "",
      h("a", { href: hash.link(["environments", model.name, each.name]), text: each.name }),
    ]);
    return row([
      h(
        "span",
        {},
        h("code", { text: deployment }),
        deployment === model.production_deployment ? h("span", { class: "tag", text: "production" }) : null,
      ),
      links.length ? h("span", {}, links) : "–",
      rolloutOf(replicas, deployment, here),
    ]);
  });
  const unlisted = [...new Set(replicas.map((each) => each.deployment))].filter(
    (each) => !model.deployments.includes(each),
  );
  for (const deployment of unlisted)
    rows.push(row([h("code", { text: deployment }), "–", rolloutOf(replicas, deployment, here)]));
  return small("Deployments", [["Deployment"], ["Environments"], ["Here"]], rows);
}

function rolloutOf(replicas, deployment, here) {
  const stages = new Map();
  for (const each of replicas) {
    if (each.deployment === deployment) stages.set(each.stage, (stages.get(each.stage) ?? 0) + 1);
  }
  const told = [...stages].map(([stage, amount]) => `${amount} ${words(stage).toLowerCase()}`).join(", ");
  if (deployment === here) return `promoted; ${told || "no replica"}`;
  return told || "–";
}

export function settingsGrid(environment) {
  const groups = [
    ["Autoscaling", environment.autoscaling],
    ["Queue", environment.queue],
    ["Time limits", environment.timeouts],
    ["Retries", environment.retry],
  ];
  const shown = groups.filter(([, settings]) => settings);
  return h(
    "div",
    { class: "settings" },
    shown.map(([title, settings]) =>
      h("div", {}, h("h3", { text: title }), h("dl", {}, Object.entries(settings).map(setting))),
    ),
  );
}

/** How settings say their unit: by the end of their name, or by custom. */
const UNITS = [
  [/_s$|^autoscaling_window$|^scale_down_delay$/, plain],
  [/_bytes$/, bytes],
  [/_percentage$|_percent$|^max_scale_down_rate$/, (value) => `${value} %`],
  [/_ratio$|_share$/, percent],
];

function setting([name, value]) {
  const unit =
    UNITS.find(([pattern]) => pattern.test(name))?.[1] ?? ((amount) => amount.toLocaleString("en"));
  const label = words(name.replace(/(_s|_bytes|_percentage|_percent)$/, ""));
  return h("div", {}, h("dt", { text: label }), h("dd", { text: shownSetting(value, unit) }));
}

/** Settings are round numbers: `0.5 s`, `90 s`, `20 min`, `24 h`. */
function plain(seconds) {
  if (seconds >= 7200 && seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds >= 120 && seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

function shownSetting(value, unit) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return unit(value);
  if (typeof value === "object") return JSON.stringify(value);
  return words(value);
}
