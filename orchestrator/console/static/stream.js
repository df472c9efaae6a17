/* Lines out of a stream of bytes, as server-sent events and NDJSON need them. */

/** Lines without their ends, as they come; the last one also where nothing ends it. */
export async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = value.split("\n");
      // Large lines come in many pieces: these are joined once.
      held.push(lines[0]);
      for (let index = 1; index < lines.length; index++) {
        yield ended(held);
        held = [lines[index]];
      }
    }
    if (held.some(Boolean)) yield ended(held);
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function ended(held) {
  const line = held.join("");
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}
