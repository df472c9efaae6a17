/* Lines over time: axes, a read-out that follows pointer and arrow keys, and the same as a table. */

import { h, s, fill, setText } from "./dom.js";
import { clock, shortClock } from "./format.js";
import { linePath, niceMaximum } from "./paths.js";

const HEIGHT = 148;
const MARGIN = { top: 8, right: 8, bottom: 20, left: 52 };

/** Charts of one view share a cursor: what is read out in one is read out in all. */
export class Cursor {
  constructor() {
    this.charts = new Set();
    this.at = null;
  }

  move(at) {
    this.at = at;
    for (const chart of this.charts) chart.showCursor();
  }
}

/**
 * @typedef {object} Series
 * @property {string} name in the data
 * @property {string} label
 * @property {string} tone class of its colour: `tone-1` ...
 * @property {boolean} [area] filled below
 * @property {boolean} [step] stays until it changes
 * @property {boolean} [dashed]
 */

export class Chart {
  /**
   * @param {object} given
   * @param {string} given.title
   * @param {Series[]} given.series
   * @param {function(number): string} given.format of values
   * @param {Cursor} given.cursor
   * @param {number} [given.floor] least top of the scale
   * @param {boolean} [given.whole] values are counts: no marks between them
   */
  constructor({ title, series, format, cursor, floor = 1, whole = false }) {
    Object.assign(this, { title, series, format, cursor, floor, whole });
    this.data = { end: 0, step: 1, values: {}, marks: [] };
    this.svg = s("svg", { class: "plot", height: HEIGHT, "aria-hidden": "true" });
    this.readout = h("div", { class: "readout", hidden: true, "aria-hidden": "true" });
    this.latest = new Map(series.map((each) => [each.name, h("b")]));
    this.slider = h(
      "div",
      {
        class: "plot-wrap",
        role: "slider",
        tabindex: "0",
        "aria-label": `${title}, read-out`,
        "aria-valuemin": "0",
      },
      this.svg,
      this.readout,
    );
    this.tableBody = h("tbody");
    this.details = h("details", { class: "as-table" }, h("summary", { text: "As a table" }), this.table());
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("h2", { text: title }), this.legend()),
      this.slider,
      this.details,
    );
    this.listen();
    cursor.charts.add(this);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.slider);
  }

  close() {
    this.cursor.charts.delete(this);
    this.observer.disconnect();
  }

  /**
   * @param {{end: number, step: number, values: Object<string, (number|null)[]>, marks?: {at, label}[]}} data
   *   `end` is the moment of the last value, Unix seconds; `step` seconds between values
   */
  update(data) {
    this.data = { marks: [], ...data };
    this.length = Math.max(0, ...this.series.map((each) => this.values(each).length));
    this.slider.setAttribute("aria-valuemax", String(Math.max(this.length - 1, 0)));
    for (const each of this.series) {
      const value = this.values(each).at(-1);
      setText(this.latest.get(each.name), this.text(value));
    }
    this.draw();
    if (this.details.open) this.fillTable();
  }

  values(series) {
    return this.data.values[series.name] ?? [];
  }

  text(value) {
    return value === null || value === undefined ? "–" : this.format(value);
  }

  momentOf(index) {
    return this.data.end - (this.length - 1 - index) * this.data.step;
  }

  // Drawing

  draw() {
    const width = Math.floor(this.slider.clientWidth);
    if (!width || !this.length) return;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const all = this.series.flatMap((each) => this.values(each)).filter((value) => value !== null);
    let top = niceMaximum(Math.max(this.floor, ...all));
    if (this.whole && top % 2) top += 1;
    this.x = (index) => MARGIN.left + (this.length < 2 ? 0 : (index / (this.length - 1)) * inner.width);
    this.y = (value) => MARGIN.top + inner.height * (1 - value / top);
    this.cursorLine = s("line", {
      class: "cursor",
      y1: MARGIN.top,
      y2: MARGIN.top + inner.height,
      visibility: "hidden",
    });
    this.dots = this.series.map((each) =>
      s("circle", { class: `dot ${each.tone}`, r: 3, visibility: "hidden" }),
    );
    fill(
      this.svg,
      this.grid(top, width),
      this.times(width),
      this.marks(inner),
      this.lines(),
      this.cursorLine,
      this.dots,
    );
    this.showCursor();
  }

  grid(top, width) {
    return [0, 0.5, 1].map((share) => {
      const y = Math.round(this.y(top * share)) + 0.5;
      return s(
        "g",
        { class: "grid" },
        s("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
        s("text", { x: MARGIN.left - 8, y: y + 3.5, "text-anchor": "end", text: this.format(top * share) }),
      );
    });
  }

  times(width) {
    const span = (this.length - 1) * this.data.step;
    const every = [15, 60, 180, 300, 600].find((each) => span / each <= width / 90) ?? 900;
    const first = Math.ceil(this.momentOf(0) / every) * every;
    const found = [];
    for (let at = first; at <= this.data.end; at += every) {
      const x = this.x((at - this.momentOf(0)) / this.data.step);
      if (x > MARGIN.left + 14 && x < width - 18) {
        const label = every < 60 ? clock(at) : shortClock(at);
        found.push(s("text", { class: "time", x, y: HEIGHT - 5, "text-anchor": "middle", text: label }));
      }
    }
    return found;
  }

  marks(inner) {
    return this.data.marks
      .filter((mark) => mark.at >= this.momentOf(0) && mark.at <= this.data.end)
      .map((mark) => {
        const x = this.x((mark.at - this.momentOf(0)) / this.data.step);
        return s(
          "g",
          { class: "mark" },
          s("title", { text: mark.label }),
          s("line", { x1: x, x2: x, y1: MARGIN.top, y2: MARGIN.top + inner.height }),
          s("path", { d: `M${x - 3.5} ${MARGIN.top} h7 l-3.5 6 z` }),
        );
      });
  }

  lines() {
    return this.series.map((each) => {
      const values = this.values(each);
      const line = linePath(values, this.x, this.y, each.step);
      const dashed = each.dashed ? " dashed" : "";
      const area = each.area && linePath(values, this.x, this.y, each.step, this.y(0));
      return [
        area && s("path", { class: `area ${each.tone}`, d: area }),
        s("path", { class: `line ${each.tone}${dashed}`, d: line }),
      ];
    });
  }

  // The read-out

  listen() {
    const point = (event) => {
      const box = this.slider.getBoundingClientRect();
      const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
      this.goTo(Math.round(share * (this.length - 1)));
    };
    this.slider.addEventListener("pointermove", point);
    this.slider.addEventListener("pointerdown", point);
    this.slider.addEventListener("pointerleave", () => this.cursor.move(null));
    this.slider.addEventListener(
      "focus",
      () => this.slider.matches(":focus-visible") && this.goTo(this.index ?? this.length - 1),
    );
    this.slider.addEventListener("blur", () => this.cursor.move(null));
    this.slider.addEventListener("keydown", (event) => {
      const steps = {
        ArrowLeft: -1,
        ArrowRight: 1,
        PageUp: 12,
        PageDown: -12,
        Home: -Infinity,
        End: Infinity,
      };
      if (event.key === "Escape") this.cursor.move(null);
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.goTo((this.index ?? this.length - 1) + steps[event.key]);
    });
    this.details.addEventListener("toggle", () => this.details.open && this.fillTable());
  }

  goTo(index) {
    this.cursor.move(this.momentOf(Math.min(Math.max(index, 0), this.length - 1)));
  }

  showCursor() {
    const at = this.cursor.at;
    const index = at === null ? null : Math.round((at - this.momentOf(0)) / this.data.step);
    const there = index !== null && index >= 0 && index < this.length;
    this.index = there ? index : null;
    this.readout.hidden = !there;
    this.cursorLine?.setAttribute("visibility", there ? "visible" : "hidden");
    for (const dot of this.dots ?? []) dot.setAttribute("visibility", "hidden");
    const told = there ? index : this.length - 1;
    this.slider.setAttribute("aria-valuenow", String(Math.max(told, 0)));
    this.slider.setAttribute("aria-valuetext", this.sentence(told));
    if (!there || !this.x) return;
    const x = this.x(index);
    this.cursorLine.setAttribute("x1", x);
    this.cursorLine.setAttribute("x2", x);
    this.series.forEach((each, number) => {
      const value = this.values(each)[index];
      if (value === null || value === undefined) return;
      this.dots[number].setAttribute("visibility", "visible");
      this.dots[number].setAttribute("cx", x);
      this.dots[number].setAttribute("cy", this.y(value));
    });
    this.placeReadout(x, index);
  }

  placeReadout(x, index) {
    const lines = this.series.map((each) =>
      h(
        "div",
        {},
        h("i", { class: `swatch ${each.tone}` }),
        h("span", { text: each.label }),
        h("b", { text: this.text(this.values(each)[index]) }),
      ),
    );
    fill(this.readout, h("div", { class: "when", text: clock(this.momentOf(index)) }), lines);
    const right = x > this.slider.clientWidth / 2;
    this.readout.style.left = right ? "" : `${x + 10}px`;
    this.readout.style.right = right ? `${this.slider.clientWidth - x + 10}px` : "";
  }

  sentence(index) {
    if (!this.length) return "nothing yet";
    const values = this.series.map((each) => `${each.label} ${this.text(this.values(each)[index])}`);
    return `${clock(this.momentOf(index))}: ${values.join(", ")}`;
  }

  // Beside the drawing

  legend() {
    const entries = this.series.map((each) =>
      h(
        "li",
        {},
        h("i", { class: `swatch ${each.tone}${each.dashed ? " dashed" : ""}` }),
        h("span", { text: each.label }),
        this.latest.get(each.name),
      ),
    );
    return h("ul", { class: "legend" }, entries);
  }

  table() {
    const heads = ["Time", ...this.series.map((each) => each.label)];
    const cells = heads.map((text, index) => h("th", { scope: "col", class: index ? "right" : null, text }));
    const table = h("table", { class: "table" }, h("thead", {}, h("tr", {}, cells)), this.tableBody);
    return h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${this.title} as a table` },
      table,
    );
  }

  fillTable() {
    const rows = [];
    for (let index = this.length - 1; index >= 0; index--) {
      const values = this.series.map((each) =>
        h("td", { class: "right", text: this.text(this.values(each)[index]) }),
      );
      rows.push(h("tr", {}, h("td", { text: clock(this.momentOf(index)) }), values));
    }
    fill(this.tableBody, rows);
  }
}
