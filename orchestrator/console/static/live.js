/* What all environments are like now: one stream of events, however many views look at it. */

import * as api from "./api.js";
import { pieces } from "./stream.js";

const SILENCE_MS = 25000; // heartbeats come every 10 s
const LONGEST_PAUSE_MS = 15000;
const POLL_MS = 5000;

/** @typedef {"off"|"connecting"|"live"|"polling"|"lost"} Connection */

export class Live {
  constructor() {
    /** Rows by `model/environment`. */
    this.rows = new Map();
    /** The API's clock less this machine's, in seconds. */
    this.skew = 0;
    /** @type {Connection} */
    this.connection = "off";
    this.problem = "";
    this.complete = false;
    this.generation = 0;
    this.listeners = new Set();
    this.stopping = null;
    this.queued = false;
  }

  /** The API's clock, Unix seconds. */
  now() {
    return Date.now() / 1000 + this.skew;
  }

  /** Calls `listener()` after changes, at most once a frame and not in a hidden tab. */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  start() {
    if (this.stopping) return;
    this.stopping = new AbortController();
    this.run(this.stopping.signal);
  }

  stop() {
    this.stopping?.abort();
    this.stopping = null;
    this.rows.clear();
    this.complete = false;
    this.become("off");
  }

  async run(signal) {
    let pause = 500;
    while (!signal.aborted) {
      const began = Date.now();
      try {
        this.become(this.complete ? "lost" : "connecting");
        await this.follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        const status = error instanceof api.ApiError ? error.status : 0;
        if (status === 401 || status === 403) {
          this.become("off", error.message);
          this.stopping = null;
          return;
        }
        if (status === 429) await this.poll(signal, error.message);
        else this.become("lost", error.message);
      }
      pause = Date.now() - began > LONGEST_PAUSE_MS ? 500 : Math.min(pause * 2, LONGEST_PAUSE_MS);
      await sleep(pause, signal);
    }
  }

  /** Reads the stream until it ends or falls silent. */
  async follow(signal) {
    const silence = new AbortController();
    let watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
    let first = true;
    try {
      const both = AbortSignal.any([signal, silence.signal]);
      const body = await api.open("/events", {}, "text/event-stream", both);
      for await (const event of events(body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
        if (event.name === "overview") {
          this.take(JSON.parse(event.data), first);
          first = false;
        }
        this.become("live");
      }
    } catch (error) {
      if (!silence.signal.aborted) throw error;
      throw new api.ApiError(0, "The stream of events fell silent.");
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** Where the router has no room for another stream: asks now and then, for a minute. */
  async poll(signal, problem) {
    for (let times = 0; times < 12 && !signal.aborted; times++) {
      this.take(await api.get("/overview", {}, signal), true);
      this.become("polling", problem);
      await sleep(POLL_MS, signal);
    }
  }

  take(update, whole) {
    this.skew = update.now - Date.now() / 1000;
    if (whole || update.full) {
      const there = new Set(update.environments.map(nameOf));
      for (const name of this.rows.keys()) if (!there.has(name)) this.rows.delete(name);
      this.complete = true;
    }
    for (const name of update.gone ?? []) this.rows.delete(name);
    for (const row of update.environments) this.rows.set(nameOf(row), row);
    this.generation += 1;
    this.changed();
  }

  become(connection, problem = "") {
    if (this.connection === connection && this.problem === problem) return;
    this.connection = connection;
    this.problem = problem;
    this.changed();
  }

  changed() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      for (const listener of [...this.listeners]) listener();
    });
  }
}

const nameOf = (row) => `${row.model}/${row.environment}`;

/** The events of a `text/event-stream`; comments come as events without a name. */
async function* events(body) {
  let name = "";
  let data = [];
  for await (const line of pieces(body)) {
    if (line === "") {
      if (data.length) yield { name, data: data.join("\n") };
      name = "";
      data = [];
    } else if (line.startsWith(":")) {
      yield { name: "", data: "" };
    } else {
      const [field, value] = fieldOf(line);
      if (field === "event") name = value;
      if (field === "data") data.push(value);
    }
  }
}

function fieldOf(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  const value = line.slice(colon + 1);
  return [line.slice(0, colon), value.startsWith(" ") ? value.slice(1) : value];
}

/** Waits; at once over when `signal` is aborted. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, milliseconds);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}
