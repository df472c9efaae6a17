/* Webhooks that were given up: why, what was tried, and once more. */

import * as api from "../api.js";
import { idCell, textCell } from "../cells.js";
import { announce, fill, h, setAttribute, setText } from "../dom.js";
import { clock, count, duration, fullTime, unix } from "../format.js";
import * as hash from "../hash.js";
import { confirm, empty, failureBox, field, notice } from "../parts.js";
import { Table } from "../table.js";
import { pager } from "./pager.js";
import { placeFields } from "./places.js";

const PARTS = ["dead-letters"];

export function deadLetters({ query, live, signal }) {
  const filter = {
    model: query.get("model") ?? "",
    environment: query.get("environment") ?? "",
    host: query.get("host") ?? "",
  };
  const found = h("span", { class: "found", role: "status" });
  const rest = h("div");
  const done = h("div");
  const failure = failureBox(() => pages.restart());
  const replayAll = h("button", {
    type: "button",
    class: "button",
    text: "Replay all",
    on: { click: () => all() },
  });
  const table = new Table({
    name: "letters",
    label: "Dead letters",
    columns: columns({ replay: (row) => one(row), tries: (row) => showTries(row, signal) }),
    keyOf: (row) => row.request_id,
    heights: [54, 150],
  });
  const pages = pager({
    fetch: (cursor) => api.get("/dead_letters", { ...filter, cursor, limit: 200 }, signal),
    rowsOf: (answer) => answer.dead_letters,
    show: (rows, more) => {
      failure.show(null);
      setText(
        found,
        more ? `${count(rows.length, "dead letter")} so far` : count(rows.length, "dead letter"),
      );
      table.element.hidden = !rows.length;
      replayAll.disabled = !rows.length;
      table.show(rows);
      fill(
        rest,
        rows.length || more
          ? null
          : empty(
              "No webhook was given up",
              "Every receiver got what it was to get, or is still being tried.",
            ),
      );
    },
    fail: failure.show,
  });

  async function replay(question, path, body, tell) {
    if (!(await confirm(...question))) return;
    try {
      const text = tell(await api.post(path, body));
      fill(done, notice("ok", text));
      announce(text);
    } catch (error) {
      failure.show(error);
      return;
    }
    await pages.restart();
  }

  const one = (row) =>
    replay(
      [
        "Replay this webhook?",
        `${row.webhook_endpoint} is called again for ${row.request_id}, with a new set of tries.`,
        "Replay",
      ],
      `/dead_letters/${api.part(row.request_id)}/replay`,
      {},
      () => `The webhook of ${row.request_id} is tried again.`,
    );
  const all = () => {
    const meant = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
    const which = Object.entries(meant)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
    const meaning = which ? `of ${which}` : "that this key reaches";
    const text = `All dead letters ${meaning} are tried again: their receivers are called once more.`;
    return replay(
      ["Replay all?", text, "Replay all"],
      "/dead_letters/replay",
      meant,
      (answer) => `${count(answer.replayed, "webhook is", "webhooks are")} tried again.`,
    );
  };

  const change = (name) => (value) => {
    filter[name] = value;
    hash.replace(PARTS, filter);
    fill(done);
    pages.restart();
  };
  const places = placeFields(live, filter, (name, value) => change(name)(value));
  const host = h("input", {
    type: "text",
    placeholder: "Any",
    value: filter.host,
    spellcheck: "false",
    on: { change: () => change("host")(host.value.trim()) },
  });
  const element = h(
    "div",
    { class: "view" },
    h("h1", { class: "visually-hidden", text: "Dead letters" }),
    h(
      "div",
      { class: "filters" },
      places.element,
      field("Receiver's host", host),
      h("div", { class: "end" }, found, replayAll),
    ),
    failure.element,
    done,
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

function columns({ replay, tries }) {
  return [
    {
      name: "given-up",
      label: "Given up",
      cell: textCell(
        (row) => clock(unix(row.given_up_at)),
        (row) => fullTime(unix(row.given_up_at)),
      ),
    },
    {
      name: "request",
      label: "Request",
      cell: idCell(
        (row) => row.request_id,
        (row) => hash.link(["requests", row.request_id]),
        (row) => `${row.model_id}/${row.environment}`,
      ),
    },
    { name: "receiver", label: "Receiver", cell: textCell((row) => row.webhook_endpoint) },
    { name: "reason", label: "Reason", cell: textCell((row) => row.reason) },
    { name: "tries", label: "Tries", right: true, cell: textCell((row) => String(row.attempts)) },
    { name: "actions", label: "Actions", cell: actionsCell(replay, tries) },
  ];
}

function actionsCell(replay, tries) {
  return (cell) => {
    let shown;
    const again = h("button", {
      type: "button",
      class: "button small",
      text: "Replay",
      on: { click: () => replay(shown) },
    });
    const look = h("button", {
      type: "button",
      class: "quiet",
      text: "Tries",
      on: { click: () => tries(shown) },
    });
    cell.append(h("span", { class: "line" }, again, look));
    return (row) => {
      shown = row;
      setAttribute(again, "aria-label", `Replay ${row.request_id}`);
      setAttribute(look, "aria-label", `Tries of ${row.request_id}`);
    };
  };
}

async function showTries(row, signal) {
  const body = h("tbody");
  const heads = ["Try", "At", "Answer", "Took", "Said"].map((text) => h("th", { scope: "col", text }));
  const table = h("table", { class: "table" }, h("thead", {}, h("tr", {}, heads)), body);
  const close = h("button", {
    type: "button",
    class: "button",
    text: "Close",
    on: { click: () => dialog.close() },
  });
  const dialog = h(
    "dialog",
    { class: "wide", "aria-labelledby": "tries-title" },
    h("h2", { id: "tries-title", text: "Tries" }),
    h("p", { class: "mono", text: row.request_id }),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tries" }, table),
    h("div", { class: "actions" }, close),
  );
  dialog.addEventListener("close", () => dialog.remove());
  signal.addEventListener("abort", () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const letter = await api.get(`/dead_letters/${api.part(row.request_id)}`, {}, signal);
    fill(body, letter.deliveries.map(tryRow));
  } catch (error) {
    if (!api.isAbort(error))
      dialog.insertBefore(notice("error", "The tries are not known", error.message), dialog.lastChild);
  }
}

function tryRow(line) {
  const cells = [
    String(line.attempt),
    clock(unix(line.at)),
    line.status === null ? "none" : String(line.status),
    duration(line.seconds),
    line.answer || line.error || "",
  ];
  return h(
    "tr",
    {},
    cells.map((text) => h("td", { text })),
  );
}
