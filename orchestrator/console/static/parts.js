/* Small pieces that several views are made of. */

import { h, fill, setText } from "./dom.js";
import { icon } from "./status.js";

/** Instead of a view: the same with the title as the page's heading. */
export function instead(level, title, text, action = null) {
  return notice(level, h("h1", { text: title }), text, action);
}

/** A sentence where content would be, with a shape; `action` is a button or link. */
export function notice(level, title, text = "", action = null) {
  return h(
    "div",
    { class: `notice level-${level}`, role: level === "error" ? "alert" : null },
    icon(level),
    h(
      "div",
      {},
      title instanceof Node ? title : h("strong", { text: title }),
      text ? h("p", { text }) : null,
      action,
    ),
  );
}

/** What is shown where a list has nothing. */
export function empty(title, text = "") {
  return h("div", { class: "empty" }, h("strong", { text: title }), text ? h("p", { text }) : null);
}

/** A figure with its name: `{element, update(value, note)}`. */
export function tile(label) {
  const value = h("b");
  const note = h("span", { class: "note" });
  const element = h("div", { class: "tile" }, h("span", { class: "label", text: label }), value, note);
  const update = (shown, beside = "") => {
    setText(value, shown);
    setText(note, beside);
  };
  return { element, update };
}

/** A part of a page with a heading of its own. */
export function section(title, ...children) {
  return h("section", { class: "panel" }, h("h2", { text: title }), children);
}

/** An input with a name: filters are made of these. */
export function field(label, input) {
  return h("label", { class: "field" }, h("span", { text: label }), input);
}

/** A choice that is on or off. */
export function toggle(label, pressed, change) {
  const click = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    change(on);
  };
  const button = h("button", {
    type: "button",
    class: "chip",
    "aria-pressed": String(pressed),
    text: label,
    on: { click },
  });
  return button;
}

export function choice(options, value, change) {
  const input = h(
    "select",
    { on: { change: () => change(input.value) } },
    options.map(([name, label]) => h("option", { value: name, text: label, selected: name === value })),
  );
  return input;
}

/** A text that a button puts on the clipboard. */
export function copyable(text, label) {
  const click = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(button, "Copied");
    } catch {
      setText(button, "Not allowed");
    }
    setTimeout(() => setText(button, "Copy"), 1500);
  };
  const button = h("button", {
    type: "button",
    class: "quiet",
    "aria-label": `Copy ${label}`,
    text: "Copy",
    on: { click },
  });
  return h("span", { class: "copyable" }, h("code", { text }), button);
}

/** Asks before something that cannot be taken back; resolves to whether to go on. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    const button = (label, value, kind) =>
      h("button", { type: "button", class: kind, text: label, on: { click: () => dialog.close(value) } });
    const go = button(action, "yes", "primary");
    const dialog = h(
      "dialog",
      { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
      h("h2", { id: "confirm-title", text: title }),
      h("p", { id: "confirm-text", text }),
      h("div", { class: "actions" }, button("Cancel", "", "button"), go),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    go.focus();
  });
}

/** Runs `load` and shows what is missing where it fails: `{element, run()}`. */
export function failureBox(again) {
  const element = h("div", { class: "failure" });
  const show = (error) => {
    if (!error) return fill(element);
    const retry = h("button", { type: "button", class: "button", text: "Try again", on: { click: again } });
    return fill(element, notice("error", "That did not work", error.message, again ? retry : null));
  };
  return { element, show };
}
