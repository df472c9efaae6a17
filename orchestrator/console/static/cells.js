/* Cells that several tables have. */

import { h, setAttribute, setText } from "./dom.js";

/** A text that is cut where there is no room; in full as a title. */
export function textCell(text, title = text) {
  return (cell) => {
    const span = h("span");
    cell.append(span);
    return (row) => {
      const shown = text(row);
      setText(span, shown);
      setAttribute(span, "title", (title === text ? shown : title(row)) || null);
    };
  };
}

/** An id as a link, and a line below it. */
export function idCell(id, href, below = null) {
  return (cell) => {
    const link = h("a", { class: "mono" });
    const sub = below && h("span", { class: "sub" });
    cell.append(...[link, sub].filter(Boolean));
    return (row) => {
      setText(link, id(row));
      setAttribute(link, "href", href(row));
      if (below) setText(sub, below(row));
    };
  };
}
