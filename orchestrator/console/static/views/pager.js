/* Lists that come a page at a time: the first at once, the others on demand. */

import * as api from "../api.js";
import { h } from "../dom.js";

/**
 * @param {object} given
 * @param {function(string): Promise<object>} given.fetch a page after a cursor, "" is the first
 * @param {function(object): object[]} given.rowsOf a page
 * @param {function(object[], boolean)} given.show all so far, and whether there are more
 * @param {function(Error)} given.fail
 */
export function pager({ fetch, rowsOf, show, fail }) {
  let rows = [];
  let cursor = "";
  let number = 0;
  const button = h("button", {
    type: "button",
    class: "button",
    text: "Show more",
    on: { click: () => next() },
  });
  const element = h("div", { class: "more", hidden: true }, button);

  async function next() {
    const mine = number;
    button.disabled = true;
    try {
      const answer = await fetch(cursor);
      if (mine !== number) return; // it began again meanwhile
      rows = [...rows, ...rowsOf(answer)];
      cursor = answer.cursor ?? "";
      element.hidden = !cursor;
      show(rows, Boolean(cursor));
    } catch (error) {
      if (!api.isAbort(error) && mine === number) fail(error);
    } finally {
      button.disabled = false;
    }
  }

  /** From the first page on. */
  function restart() {
    number += 1;
    rows = [];
    cursor = "";
    return next();
  }

  return { element, restart };
}
