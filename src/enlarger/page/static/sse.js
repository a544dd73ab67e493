// Server-sent events by `fetch`: an `EventSource` cannot send a key.

/** Splits a stream of text into events, as https://html.spec.whatwg.org/multipage/server-sent-events.html says. */
export class EventParser {
  #rest = "";
  #event = { type: "", data: [] };
  lastId = "";

  /**
   * @param {string} text the next piece of the stream
   * @returns {{type: string, data: string, id: string}[]} events that it ends
   */
  push(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#event.data.length) {
          events.push({ type: this.#event.type || "message", data: this.#event.data.join("\n"), id: this.lastId });
        }
        this.#event = { type: "", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") this.#event.type = value;
      else if (field === "data") this.#event.data.push(value);
      else if (field === "id") this.lastId = value;
    }
    return events;
  }
}

/** Read the events of an answer until it ends. */
export async function* eventsOf(response) {
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
