/* The last lines that an environment's replicas wrote, on demand, followed if wanted. */

import * as api from "../api.js";
import { fill, h, setText } from "../dom.js";
import { clock } from "../format.js";
import { empty, failureBox } from "../parts.js";
import { pieces } from "../stream.js";

const LINES = 200;
const MOST = 1000;

/** @param {{path: string, signal: AbortSignal}} given the environment's path in the API */
export function logs({ path, signal }) {
  const list = h("div", { class: "log", role: "log", tabindex: "0", "aria-label": "Log" });
  const replica = h("input", {
    type: "text",
    placeholder: "Any replica",
    "aria-label": "Replica",
    spellcheck: "false",
  });
  const asked = h("input", {
    type: "text",
    placeholder: "Any request id",
    "aria-label": "Request id",
    spellcheck: "false",
  });
  const failure = failureBox(null);
  const state = h("span", { class: "found", role: "status" });
  let running = null;

  async function read() {
    running?.abort();
    const mine = (running = new AbortController());
    const ended = AbortSignal.any([signal, mine.signal]);
    fill(list, empty("Waiting for lines…"));
    failure.show(null);
    setText(state, "following");
    try {
      const query = {
        replica: replica.value.trim(),
        request: asked.value.trim(),
        lines: LINES,
        follow: true,
      };
      const body = await api.open(`${path}/logs`, query, "application/x-ndjson", ended);
      let first = true;
      for await (const text of pieces(body)) {
        if (!text.trim()) continue;
        if (first) fill(list);
        first = false;
        add(JSON.parse(text));
      }
      if (first) fill(list, empty("There are no lines"));
      setText(state, "ended");
    } catch (error) {
      if (ended.aborted) return;
      setText(state, "");
      failure.show(error);
    }
  }

  function add(line) {
    const low = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(lineOf(line));
    while (list.childElementCount > MOST) list.firstElementChild.remove();
    if (low) list.scrollTop = list.scrollHeight;
  }

  function stop() {
    running?.abort();
    running = null;
    setText(state, "");
  }

  const button = (text, click) => h("button", { type: "button", class: "button", text, on: { click } });
  const details = h(
    "details",
    { class: "panel logs", on: { toggle: () => (details.open ? read() : stop()) } },
    h("summary", {}, h("h2", { text: "Log" })),
    h("div", { class: "filters" }, replica, asked, button("Show", read), button("Stop", stop), state),
    failure.element,
    list,
  );
  return details;
}

function lineOf(line) {
  const level = (line.level ?? "").toLowerCase();
  const bad = line.stream === "stderr" || ["error", "critical"].includes(level);
  return h(
    "div",
    { class: `log-line${bad ? " bad" : ""}` },
    h("time", { text: clock(line.at) }),
    h("span", { class: "log-replica", title: line.replica, text: line.replica }),
    h("span", { class: "log-level", text: level || line.stream }),
    h("span", { class: "log-text", text: line.text }),
  );
}
