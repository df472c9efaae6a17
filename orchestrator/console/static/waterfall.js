/* What happened to a request, as a browser's network panel shows it: a row a step, on one axis. */

import { Axis } from "./axis.js";
import { h, fill } from "./dom.js";
import { age, duration, fullTime, words } from "./format.js";
import { icon } from "./status.js";

const NAMES = {
  request: "Request",
  submit: "Submitted",
  run: "Run",
  attempt: "Attempt",
  predict: "Predict",
  stream: "Stream",
  "queue.wait": "In line",
  "replica.start": "Replica starts",
  "first byte": "First byte",
  "webhook.deliver": "Webhook",
};

const TONES = {
  "queue.wait": "wait",
  "replica.start": "start",
  PROVISIONING: "provisioning",
  STARTING: "starting",
  LOADING: "loading",
  WARMING: "warming",
  attempt: "attempt",
  predict: "attempt",
  stream: "stream",
  "first byte": "stream",
  "webhook.deliver": "webhook",
};

export class Waterfall {
  constructor() {
    this.open = new Set();
    this.axis = h("div", { class: "wf-axis", "aria-hidden": "true" });
    this.rows = h("ol", { class: "wf-rows" });
    const head = h(
      "div",
      { class: "wf-head", "aria-hidden": "true" },
      h("span", { text: "Step" }),
      this.axis,
      h("span", { class: "right", text: "Took" }),
    );
    this.element = h("div", { class: "waterfall" }, head, this.rows);
  }

  /**
   * @param {object[]} bars `{name, process, depth, at, seconds, level, detail, note}`, in order
   * @param {[number, number][]} pieces what is drawn to scale; none: from the first to the last
   * @param {number} now Unix seconds; what still runs ends here
   */
  show(bars, pieces, now) {
    if (!bars.length) return;
    const ends = bars.map((bar) => bar.at + lengthOf(bar, now));
    const whole = [Math.min(...bars.map((bar) => bar.at)), Math.max(...ends)];
    const axis = new Axis(pieces?.length ? pieces : [whole]);
    fill(
      this.axis,
      axis.marks().map((mark) => this.mark(mark, axis)),
      axis.folds().map(foldMark),
    );
    const lines = axis.marks().map((mark) => h("i", { class: "wf-line", style: { left: `${mark.left}%` } }));
    const bands = axis
      .folds()
      .map(({ left, width }) =>
        h("i", { class: "wf-fold", style: { left: `${left}%`, width: `${width}%` } }),
      );
    const focused = this.rows.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    fill(
      this.rows,
      h("li", { class: "wf-grid", "aria-hidden": "true" }, h("div", {}, lines, bands)),
      bars.map((bar, index) => this.row(bar, String(index), axis, now)),
    );
    if (focused) this.rows.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  mark({ left, seconds }, axis) {
    return h("span", { style: { left: `${left}%` }, text: tick(seconds, axis.span) });
  }

  row(bar, key, axis, now) {
    const running = bar.seconds === null || bar.seconds === undefined;
    const seconds = lengthOf(bar, now);
    const details = h("div", { class: "wf-detail", id: `step-${key}` }, detail(bar, axis.begin));
    details.hidden = !this.open.has(key);
    const toggle = () => {
      if (!this.open.delete(key)) this.open.add(key);
      details.hidden = !this.open.has(key);
      button.setAttribute("aria-expanded", String(!details.hidden));
    };
    const from = axis.place(bar.at);
    const width = Math.max(axis.place(bar.at + seconds) - from, 0);
    const tone = TONES[bar.name] ?? "request";
    const classes = `wf-bar tone-${tone} level-${bar.level || "ok"}${running ? " running" : ""}${seconds ? "" : " moment"}`;
    const took = running ? `${duration(seconds)} …` : seconds ? duration(seconds) : "";
    const said = bar.level === "error" ? ", failed" : running ? ", running" : "";
    const button = h(
      "button",
      {
        type: "button",
        class: "wf-row",
        "data-key": key,
        "aria-expanded": String(!details.hidden),
        "aria-controls": `step-${key}`,
        style: { "--depth": bar.depth ?? 0 },
        on: { click: toggle },
      },
      h(
        "span",
        { class: "wf-name" },
        bar.level === "error"
          ? icon("error")
          : h("i", { class: `wf-dot tone-${tone} level-${bar.level || "ok"}` }),
        h("span", { class: "wf-title", text: nameOf(bar) }),
        h("span", { class: "visually-hidden", text: `${said}, ` }),
        bar.process ? h("span", { class: "wf-process", text: bar.process }) : null,
      ),
      h(
        "span",
        { class: "wf-track" },
        h("span", { class: classes, style: { left: `${from}%`, width: `${width}%` } }),
      ),
      h("span", { class: "wf-took", text: took }),
    );
    return h("li", {}, button, details);
  }
}

function lengthOf(bar, now) {
  return bar.seconds ?? Math.max(now - bar.at, 0);
}

function nameOf(bar) {
  const stage = /^[A-Z_]+$/.test(bar.name);
  return NAMES[bar.name] ?? (stage ? words(bar.name.charAt(0) + bar.name.slice(1).toLowerCase()) : bar.name);
}

function detail(bar, begin) {
  const facts = Object.entries(bar.detail ?? {}).filter(([, value]) => value !== "" && value !== null);
  return [
    bar.note ? h("p", { text: bar.note }) : null,
    h(
      "dl",
      { class: "facts" },
      fact("began", `${duration(bar.at - begin)} in (${fullTime(bar.at)})`),
      facts.map(([name, value]) => fact(words(name), told(value))),
    ),
  ];
}

function foldMark({ left, width, seconds }) {
  const style = { left: `${left + width / 2}%` };
  return h("span", {
    class: "wf-folded",
    style,
    title: `${duration(seconds)} in which nothing happened`,
    text: `⋯ ${age(seconds)}`,
  });
}

/** A moment on the axis, in the unit that suits the span. */
function tick(at, span) {
  if (at < 1e-9) return "0";
  if (span < 1) return `${+(at * 1000).toPrecision(3)} ms`;
  return at < 60 ? `${+at.toFixed(2)} s` : duration(at);
}

/** One fact of a `<dl>`. */
export function fact(name, value) {
  return h("div", {}, h("dt", { text: name }), h("dd", {}, value instanceof Node ? value : String(value)));
}

function told(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
