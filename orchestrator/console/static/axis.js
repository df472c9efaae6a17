/* A time axis in pieces: long stretches in which nothing happens are folded. */

import { ticks } from "./paths.js";

const FOLD = 4; // percent of the width that a fold takes

export class Axis {
  /** @param {[number, number][]} pieces Unix times drawn to scale, in order */
  constructor(pieces) {
    const spans = pieces.map(([from, to]) => Math.max(to - from, 0));
    const whole = Math.max(
      spans.reduce((sum, span) => sum + span, 0),
      0.000001,
    );
    const room = 100 - FOLD * (pieces.length - 1);
    let left = 0;
    this.begin = pieces[0][0];
    this.span = whole;
    this.pieces = pieces.map(([from, to], index) => {
      const width = Math.max((spans[index] / whole) * room, 0.0001);
      const piece = { from, to, left, width };
      left += width + FOLD;
      return piece;
    });
  }

  /** Where a moment is, percent of the width; within a fold: in its middle. */
  place(at) {
    let place = 0;
    for (const { from, to, left, width } of this.pieces) {
      if (at < from) return left === 0 ? 0 : place;
      if (at <= to) return left + (to > from ? (at - from) / (to - from) : 0) * width;
      place = left + width + FOLD / 2;
    }
    return 100;
  }

  /** `{left, seconds}` of the round moments. */
  marks(wanted = 6) {
    const found = [];
    for (const { from, to, left, width } of this.pieces) {
      const last = to === this.pieces.at(-1).to;
      const share = Math.max(Math.round((width / 100) * wanted), 1);
      const offset = from - this.begin;
      const step = ticks(to - from || 0.001, share)[1] ?? to - from;
      const first = Math.ceil((offset - step * 0.001) / step) * step;
      for (let seconds = first; seconds <= to - this.begin; seconds += step) {
        const place = left + ((seconds - offset) / (to - from)) * width;
        if (place <= 96 && place <= left + width - (last ? 0 : 6)) found.push({ left: place, seconds });
        if (found.length > 40) return found;
      }
    }
    return found;
  }

  /** `{left, width, seconds}` of the folds. */
  folds() {
    return this.pieces.slice(1).map((piece, index) => {
      const before = this.pieces[index];
      return { left: before.left + before.width, width: FOLD, seconds: piece.from - before.to };
    });
  }
}
