/* What a replica's start took: one bar in pieces, a piece a stage, and the same in words. */

import { h } from "./dom.js";
import { duration } from "./format.js";

export const STAGES = ["PROVISIONING", "STARTING", "LOADING", "WARMING"];

const labelOf = (stage) => stage.charAt(0) + stage.slice(1).toLowerCase();

/** Which colour is which stage. */
export function stageLegend() {
  const entries = STAGES.map((stage) =>
    h(
      "li",
      {},
      h("i", { class: `swatch wide stage-${stage.toLowerCase()}` }),
      h("span", { text: labelOf(stage) }),
    ),
  );
  return h("ul", { class: "legend" }, entries);
}

/** In words: `Provisioning 0.4 s, loading 2.0 s`. */
export function stageWords(stages) {
  const told = STAGES.filter((stage) => stages[stage] !== undefined);
  return told
    .map((stage, index) => `${index ? stage.toLowerCase() : labelOf(stage)} ${duration(stages[stage])}`)
    .join(", ");
}

/**
 * The bar.
 *
 * @param {Object<string, number>} stages seconds by stage
 * @param {number} longest seconds that take the whole width, so that bars can be compared
 * @param {string} [present] the stage that it is in now
 */
export function stageBar(stages, longest, present = "") {
  const pieces = STAGES.filter((stage) => stages[stage] > 0).map((stage) =>
    h("span", {
      class: `stage-${stage.toLowerCase()}`,
      style: { width: `${Math.max((stages[stage] / (longest || 1)) * 100, 0.6)}%` },
      title: `${labelOf(stage)} ${duration(stages[stage])}`,
    }),
  );
  if (STAGES.includes(present)) pieces.push(h("span", { class: `stage-${present.toLowerCase()} running` }));
  return h(
    "div",
    { class: "stage-bar", role: "img", "aria-label": stageWords(stages) || "nothing yet" },
    pieces,
  );
}

export function totalOf(stages) {
  return STAGES.reduce((sum, stage) => sum + (stages[stage] ?? 0), 0);
}
