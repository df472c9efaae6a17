/* The form for a key. It is tried before it is taken. */

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { notice } from "../parts.js";

export function login({ message, done, signal }) {
  const input = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "key-help login-problem",
  });
  const problem = h("div", { id: "login-problem", role: "alert" });
  const go = h("button", { type: "submit", class: "primary", text: "Log in" });

  const refuse = (text) => {
    api.key.forget();
    fill(problem, notice("error", text));
    input.setAttribute("aria-invalid", "true");
    input.select();
  };

  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    fill(problem);
    api.key.set(input.value.trim());
    try {
      await api.get("/models", {}, signal);
      done();
    } catch (error) {
      if (api.isAbort(error)) return;
      if (error.status === 401) refuse("This key is not accepted.");
      else if (error.status === 403) refuse("This key may not look here: it lacks the scope manage.");
      else refuse(error.message);
    } finally {
      go.disabled = false;
    }
  };

  if (message) fill(problem, notice("off", message));
  const form = h(
    "form",
    { class: "login", on: { submit } },
    h("h1", { text: "Log in" }),
    h("label", { for: "key", text: "API key" }),
    input,
    h(
      "p",
      { id: "key-help", class: "help" },
      "A key with the scope ",
      h("code", { text: "manage" }),
      ". It is kept until this tab is closed.",
    ),
    problem,
    go,
  );
  return { element: form, ready: () => input.focus() };
}
