/* Geometry of lines, apart from any document. */

/**
 * A path through values; null breaks it.
 *
 * @param {(number|null)[]} values
 * @param {function(number): number} x of an index
 * @param {function(number): number} y of a value
 * @param {boolean} [step] the value stays until the next one
 * @param {number} [base] y of the ground: the path becomes an area down to it
 */
export function linePath(values, x, y, step = false, base = undefined) {
  const parts = [];
  let start = -1;
  const close = (end) => {
    if (start < 0) return;
    if (base !== undefined) parts.push(`L${round(x(end))} ${round(base)}L${round(x(start))} ${round(base)}Z`);
    else if (start === end) parts.push("m-2 0h4");
    start = -1;
  };
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (value === null || value === undefined) {
      close(index - 1);
      continue;
    }
    const point = `${round(x(index))} ${round(y(value))}`;
    if (start < 0) {
      parts.push(`M${point}`);
      start = index;
    } else parts.push(step ? `H${round(x(index))}V${round(y(value))}` : `L${point}`);
  }
  close(values.length - 1);
  return parts.join("");
}

function round(value) {
  return Math.round(value * 10) / 10;
}

/** The next of 1, 2, 3, 4, 5, 6, 8 times a power of ten: its half is readable, too. */
export function niceMaximum(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const found = [1, 2, 3, 4, 5, 6, 8, 10].find((each) => each * power >= value * 0.999);
  return (found ?? 10) * power;
}

/**
 * About `wanted` round moments of a span, seconds from its beginning.
 *
 * @returns {number[]}
 */
export function ticks(span, wanted) {
  const rough = span / wanted;
  const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400];
  const step =
    rough < 1 ? niceStep(rough) : (steps.find((each) => each >= rough) ?? 86400 * Math.ceil(rough / 86400));
  const found = [];
  for (let index = 0; index * step <= span * 1.0001; index++) found.push(index * step);
  return found;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 5].find((each) => each * power >= rough) ?? 10) * power;
}
