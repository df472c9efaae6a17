/* Numbers, durations and moments as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const ONE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const NOTHING = "–";

/** `0.8 ms`, `41 ms`, `3.21 s`, `4 min 05 s`, `2 h 10 min`, `3 d`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NOTHING;
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.995) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return longDuration(seconds);
}

/** Without fractions: for ages. `3 s`, `4 min 05 s`. */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 60) return `${Math.max(Math.floor(seconds), 0)} s`;
  return longDuration(seconds);
}

function longDuration(seconds) {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d`;
}

/** `3 s ago`; a minute and more without seconds. */
export function ago(at, now) {
  const seconds = Math.max(now - at, 0);
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** A count or a rate: `0`, `0.2`, `14.3`, `1,204`. */
export function number(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value > 0 && value < 0.05) return "< 0.1";
  return value !== 0 && Math.abs(value) < 100 ? ONE.format(value) : WHOLE.format(value);
}

export function whole(value) {
  return value === null || value === undefined ? NOTHING : WHOLE.format(value);
}

/** A share of 1: `0 %`, `0.3 %`, `12 %`. */
export function percent(share) {
  if (share === null || share === undefined) return NOTHING;
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value < 10 ? ONE.format(value) : WHOLE.format(value)} %`;
}

export function bytes(count) {
  if (count === null || count === undefined) return NOTHING;
  if (count < 1000) return `${count} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    count /= 1000;
    if (count < 999.5 || unit === "GB") return `${count < 10 ? count.toFixed(1) : Math.round(count)} ${unit}`;
  }
  return NOTHING;
}

/** A Unix time, or a text that is one in ISO 8601, in Unix seconds. */
export function unix(moment) {
  if (typeof moment === "number") return moment;
  return moment ? Date.parse(moment) / 1000 : 0;
}

/** `14:02:07`; of another day with the day before it. */
export function clock(at) {
  if (!at) return NOTHING;
  const date = new Date(at * 1000);
  const time = CLOCK.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${DAY.format(date)} ${time}`;
}

export function shortClock(at) {
  return SHORT_CLOCK.format(new Date(at * 1000));
}

/** In full, for where space does not matter. */
export function fullTime(at) {
  return at ? new Date(at * 1000).toISOString().replace("T", " ").replace("Z", " UTC") : NOTHING;
}

/** `1 replica`, `2 replicas`. */
export function count(amount, one, many = `${one}s`) {
  return `${WHOLE.format(amount)} ${amount === 1 ? one : many}`;
}

/** `rejected_queue_full` as words. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}
