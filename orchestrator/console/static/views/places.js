/* Two fields, model and environment, that suggest what is there. */

import { fill, h } from "../dom.js";
import { field } from "../parts.js";

/** `changed(name, value)` is called with `model` or `environment`; a name that is none of ours is the API's to refuse. */
export function placeFields(live, filter, changed) {
  const inputs = ["model", "environment"].map((name) => {
    const options = h("datalist", { id: `known-${name}s` });
    const input = h("input", {
      type: "text",
      list: options.id,
      placeholder: "Any",
      autocomplete: "off",
      spellcheck: "false",
      value: filter[name],
      on: { change: () => changed(name, input.value.trim()) },
    });
    return { name, input, options };
  });
  let told = "";
  const suggest = () => {
    const rows = [...live.rows.values()];
    const key = `${rows.length} ${inputs[0].input.value}`;
    if (key === told) return;
    told = key;
    for (const { name, options } of inputs) {
      const names = [...new Set(rows.map((row) => row[name]))].sort();
      fill(
        options,
        names.map((value) => h("option", { value })),
      );
    }
  };
  const close = live.subscribe(suggest);
  suggest();
  const fields = inputs.map(({ name, input, options }) => [
    field(name === "model" ? "Model" : "Environment", input),
    options,
  ]);
  return { element: h("div", { class: "places" }, fields), close };
}
