/* The page: which view is shown, whether a key is needed, how the connection is. */

import * as api from "./api.js";
import { fill, h, setAttribute, setText } from "./dom.js";
import * as hash from "./hash.js";
import { Live } from "./live.js";
import * as theme from "./theme.js";
import { instead } from "./parts.js";
import { asyncRequests } from "./views/async_requests.js";
import { deadLetters } from "./views/dead_letters.js";
import { environment } from "./views/environment.js";
import { environments } from "./views/environments.js";
import { login } from "./views/login.js";
import { request } from "./views/request.js";
import { requests } from "./views/requests.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const logOut = document.getElementById("log-out");
const live = new Live();

/** By the address's first part and how many follow: `[view, title]`. */
const VIEWS = {
  "environments/0": [environments, () => "Environments"],
  "environments/2": [environment, (parts) => `${parts[1]}/${parts[2]}`],
  "requests/0": [requests, () => "Requests"],
  "requests/1": [request, (parts) => `Request ${parts[1]}`],
  "async/0": [asyncRequests, () => "Async requests"],
  "dead-letters/0": [deadLetters, () => "Dead letters"],
};

let shown = { name: "", close: () => undefined };

/**
 * Shows the view of the address. A view is a function that is given
 * `{parts, query, live, signal}` and gives `{element, close?}`; `signal` ends when
 * it is left.
 */
function show() {
  if (needsKey) return;
  const address = hash.read();
  if (!address.parts.length) {
    location.replace(hash.link(["environments"]));
    return;
  }
  const [view, title] = VIEWS[`${address.parts[0]}/${address.parts.length - 1}`] ?? [
    unknown,
    () => "Not found",
  ];
  present(view, title(address.parts), { ...address, live });
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === hash.link([address.parts[0]]);
    setAttribute(link, "aria-current", here ? "page" : null);
  }
}

function present(view, title, context) {
  const again = shown.name !== "";
  shown.close();
  const stopping = new AbortController();
  document.title = `${title} · Orchestrator`;
  const { element, close, ready } = view({ ...context, signal: stopping.signal });
  fill(main, element);
  scrollTo(0, 0);
  ready?.();
  shown = {
    name: title,
    close: () => {
      stopping.abort();
      close?.();
    },
  };
  // Whoever does not see the page is taken to where it changed.
  if (again) main.focus({ preventScroll: true });
}

function unknown() {
  const back = h("a", { href: "#/environments", text: "To the environments" });
  return { element: instead("warn", "There is no such view", `Nothing is at ${location.hash}.`, back) };
}

// The key

let needsKey = false;

function askForKey(message) {
  live.stop();
  api.key.forget();
  needsKey = true;
  document.body.classList.add("locked");
  present(login, "Log in", { message, done: enter, live });
  showConnection();
}

/** Shows the page; without a key only if none is needed. */
async function begin() {
  if (!api.key.get()) {
    try {
      await api.get("/models");
    } catch (error) {
      if (error.status === 401) return;
    }
  }
  enter();
}

function enter() {
  needsKey = false;
  document.body.classList.remove("locked");
  live.start();
  show();
}

logOut.addEventListener("click", () => askForKey("You are logged out."));

// The connection

const CONNECTIONS = {
  off: ["", ""],
  connecting: ["busy", "Connecting"],
  live: ["ok", "Live"],
  polling: ["warn", "Every 5 s"],
  lost: ["error", "Connection lost"],
};

function showConnection() {
  const [level, label] = CONNECTIONS[live.connection];
  setAttribute(connection, "class", `connection ${level ? `level-${level}` : ""}`);
  setText(connection, label);
  setAttribute(connection, "title", live.problem || null);
  logOut.hidden = !api.key.get();
}

/** `/` goes to the view's filter, as in many other places. */
function shortcut(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog")) return;
  const filter = main.querySelector("input[type=search]");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select();
}

theme.wire(document.getElementById("theme"));
live.subscribe(showConnection);
api.onRefused((message) => {
  if (!needsKey) askForKey(message);
});
addEventListener("hashchange", show);
addEventListener("keydown", shortcut);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's hash says which view is shown
  main.focus();
});
begin();
