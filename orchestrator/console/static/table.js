/* A table of any length: only the rows in sight are in the document. It scrolls with the page. */

import { h, setAttribute, setText } from "./dom.js";

const OVERSCAN = 8;
const phone = matchMedia("(max-width: 760px)");

/**
 * @typedef {object} Column
 * @property {string} name of the column; a class `c-<name>` is set on its cells
 * @property {string} label in the head
 * @property {boolean} [right] numbers stand at the right
 * @property {function(row)} [value] what is sorted by; without it the column is not sortable
 * @property {boolean} [descending] whether the first click sorts the largest first
 * @property {function(HTMLElement): function(row)} cell fills a cell once; gives what updates it
 */

export class Table {
  /**
   * @param {object} given
   * @param {string} given.label of the table
   * @param {Column[]} given.columns
   * @param {function(row): string} given.keyOf unique for each row
   * @param {function(row): string} [given.href] where a click on a row leads
   * @param {{name: string, descending: boolean}} [given.sort] null: rows stay as they are given
   * @param {function(sort)} [given.onSort]
   * @param {[number, number]} [given.heights] of a row in px: on a desk, on a phone
   */
  constructor({ label, columns, keyOf, href, sort = null, onSort, heights = [52, 108], name }) {
    Object.assign(this, { columns, keyOf, href, sort, onSort, heights });
    this.rows = [];
    this.order = [];
    this.shown = new Map();
    this.heads = new Map();
    this.above = spacer();
    this.below = spacer();
    this.body = h("tbody", { role: "rowgroup" }, this.above, this.below);
    this.table = h(
      "table",
      { class: `table virtual t-${name}`, role: "table", "aria-label": label },
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          columns.map((column) => this.head(column)),
        ),
      ),
      this.body,
    );
    this.element = h("div", { class: "table-wrap" }, this.picker(), this.table);
    this.paintSoon = coalesced(() => this.paint());
    this.table.addEventListener("keydown", (event) => this.walk(event));
    this.table.addEventListener("click", (event) => this.follow(event));
    addEventListener("scroll", this.paintSoon, { passive: true });
    addEventListener("resize", this.paintSoon);
    phone.addEventListener("change", this.paintSoon);
    this.showSort();
  }

  /** Lets go of what it listens to. */
  close() {
    removeEventListener("scroll", this.paintSoon);
    removeEventListener("resize", this.paintSoon);
    phone.removeEventListener("change", this.paintSoon);
  }

  /** Shows these rows, sorted; the order stays while the pointer is over them. */
  show(rows) {
    this.rows = rows;
    this.order = this.sorted(rows, this.body.matches(":hover"));
    setAttribute(this.table, "aria-rowcount", String(rows.length + 1));
    this.paint();
  }

  sortBy(name, descending) {
    this.sort = { name, descending };
    this.order = this.sorted(this.rows, false);
    this.showSort();
    this.onSort?.(this.sort);
    this.paint();
  }

  sorted(rows, hold) {
    const column = this.columns.find((each) => each.name === this.sort?.name);
    if (!column?.value) return rows;
    if (hold && this.order.length) {
      const places = new Map(this.order.map((row, index) => [this.keyOf(row), index]));
      const place = (row) => places.get(this.keyOf(row)) ?? Infinity;
      return rows.toSorted((a, b) => Math.sign(place(a) - place(b)) || 0);
    }
    const sign = this.sort.descending ? -1 : 1;
    const keyed = rows.map((row) => [column.value(row), this.keyOf(row), row]);
    keyed.sort((a, b) => sign * compare(a[0], b[0]) || compare(a[1], b[1]));
    return keyed.map((each) => each[2]);
  }

  // The head

  head(column) {
    const attributes = { role: "columnheader", scope: "col", class: classes(column) };
    if (!column.value) return h("th", attributes, h("span", { text: column.label }));
    const click = () => this.toggle(column);
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" });
    const cell = h("th", attributes, h("button", { type: "button", on: { click } }, column.label, arrow));
    this.heads.set(column.name, { cell, arrow });
    return cell;
  }

  toggle(column) {
    const again = this.sort?.name === column.name;
    this.sortBy(column.name, again ? !this.sort.descending : Boolean(column.descending));
  }

  /** On a phone there is no head to click on. */
  picker() {
    const sortable = this.columns.filter((column) => column.value);
    if (!sortable.length) return null;
    const change = () => {
      const column = sortable.find((each) => each.name === this.select.value);
      this.sortBy(column.name, Boolean(column.descending));
    };
    const options = sortable.map((column) => h("option", { value: column.name, text: column.label }));
    this.select = h("select", { on: { change } }, options);
    return h("label", { class: "sort-picker" }, "Sort by", this.select);
  }

  showSort() {
    for (const [name, { cell, arrow }] of this.heads) {
      const active = this.sort?.name === name;
      const direction = active ? (this.sort.descending ? "descending" : "ascending") : null;
      setAttribute(cell, "aria-sort", direction);
      setText(arrow, active ? (this.sort.descending ? " ↓" : " ↑") : "");
    }
    if (this.select && this.sort) this.select.value = this.sort.name;
  }

  // The rows in sight

  paint() {
    if (!this.table.isConnected) return;
    const height = this.heights[phone.matches ? 1 : 0];
    this.table.style.setProperty("--row", `${height}px`);
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(Math.floor(-top / height) - OVERSCAN, 0);
    const last = Math.min(Math.ceil((innerHeight - top) / height) + OVERSCAN, this.order.length);
    const begin = Math.min(first, this.order.length);
    this.above.style.height = `${begin * height}px`;
    this.below.style.height = `${Math.max(this.order.length - last, 0) * height}px`;
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const wanted = new Map();
    for (let index = begin; index < last; index++) wanted.set(this.keyOf(this.order[index]), index);
    for (const [key, line] of this.shown) {
      // The row that has the focus stays in the document, or the keyboard would lose its place.
      if (!wanted.has(key)) this.drop(key, line);
    }
    let before = this.above;
    for (const [key, index] of wanted) {
      const line = this.shown.get(key) ?? this.add(key);
      if (before.nextSibling !== line.element) before.after(line.element);
      before = line.element;
      setAttribute(line.element, "aria-rowindex", String(index + 2));
      line.index = index;
      line.update(this.order[index]);
    }
    if (focused && document.activeElement !== focused && focused.isConnected)
      focused.focus({ preventScroll: true });
  }

  add(key) {
    const updates = [];
    const cells = this.columns.map((column) => {
      const cell = h("td", { role: "cell", class: classes(column), "data-label": column.label });
      updates.push(column.cell(cell));
      return cell;
    });
    const element = h("tr", { role: "row" }, cells);
    const line = { element, index: 0, row: null };
    line.update = (row) => {
      line.row = row;
      for (const update of updates) update(row);
    };
    this.shown.set(key, line);
    return line;
  }

  drop(key, line) {
    line.element.remove();
    this.shown.delete(key);
  }

  // Keyboard and pointer

  lineOf(element) {
    const tr = element.closest("tr");
    return [...this.shown.values()].find((line) => line.element === tr);
  }

  walk(event) {
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    const line = this.lineOf(event.target);
    if (step === undefined || !line || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const index = Math.min(Math.max(line.index + step, 0), this.order.length - 1);
    const height = this.heights[phone.matches ? 1 : 0];
    const there = this.body.getBoundingClientRect().top + index * height;
    const head = 120; // the bar and the head stay in sight
    if (there < head) scrollBy(0, there - head);
    else if (there + height > innerHeight) scrollBy(0, there + height - innerHeight + 8);
    this.paint();
    const target = this.shown.get(this.keyOf(this.order[index]));
    target?.element.querySelector("a, button")?.focus({ preventScroll: true });
  }

  follow(event) {
    if (!this.href || event.target.closest("a, button, input") || String(getSelection())) return;
    const line = this.lineOf(event.target);
    if (line?.row) location.hash = this.href(line.row);
  }
}

function spacer() {
  return h("tr", { class: "spacer", "aria-hidden": "true" });
}

function classes(column) {
  return `c-${column.name}${column.right ? " right" : ""}`;
}

/** Numbers by size, texts by the alphabet; what is null comes last of the small. */
function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "number") return a < b ? -1 : 1;
  return a < b ? -1 : 1;
}

function coalesced(action) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      action();
    });
  };
}
