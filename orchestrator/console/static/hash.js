/* Deep links: `#/environments/m/e?tab=logs` as a path in parts and a query. */

/** The address as `{parts: [...], query: URLSearchParams}`. */
export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(query) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a `%` that somebody typed
  }
}

/** The address of a view; what is empty, false or null in `query` is left out, true has no value. */
export function link(parts, query = {}) {
  const pairs = [];
  for (const [name, value] of Object.entries(query)) {
    if (value === true) pairs.push(encodeURIComponent(name));
    else if (value !== null && value !== undefined && value !== "" && value !== false) {
      pairs.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
    }
  }
  const path = parts.map(encodeURIComponent).join("/");
  return `#/${path}${pairs.length ? `?${pairs.join("&")}` : ""}`;
}

/** Puts the filters of a view into its address, without a step in the history. */
export function replace(parts, query) {
  const address = link(parts, query);
  if (location.hash !== address) history.replaceState(history.state, "", address);
}

/** Whether a query says yes: `?errors`, `?errors=1` and `?errors=true` do. */
export function flag(query, name) {
  return query.has(name) && !["0", "false"].includes(query.get(name));
}
