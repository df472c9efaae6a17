/* A line the size of a word; the number beside it says the same in text. */

import { s, setAttribute } from "./dom.js";
import { linePath } from "./paths.js";

const WIDTH = 88;
const HEIGHT = 22;

/** `{element, update(values)}`; the largest value is at the top, 0 at the bottom. */
export function spark(tone) {
  const area = s("path", { class: `area ${tone}` });
  const line = s("path", { class: `line ${tone}` });
  const base = s("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
  const element = s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      "aria-hidden": "true",
    },
    base,
    area,
    line,
  );
  let last = null;
  const update = (values = []) => {
    if (values === last) return;
    last = values;
    const top = Math.max(...values.map((value) => value ?? 0), 0);
    const flat = !top;
    const x = (index) => (values.length < 2 ? 0 : (index / (values.length - 1)) * WIDTH);
    const y = (value) => HEIGHT - 1 - (value / (top || 1)) * (HEIGHT - 3);
    setAttribute(line, "d", flat ? null : linePath(values, x, y));
    setAttribute(area, "d", flat ? null : linePath(values, x, y, false, HEIGHT - 1));
  };
  return { element, update };
}
