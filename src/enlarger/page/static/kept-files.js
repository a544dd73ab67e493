// Chosen files outlive a reload in the browser's database, as many as there is room for.

const DATABASE = "enlarger";
const STORE = "files";
const MOST_BYTES = 512 * 1024 * 1024;
const OLDEST_MS = 24 * 3600 * 1000;

/** Behind the id of a file: what is shown of it. */
const SHOWN = "/shown";

/** Tabs talk here about files: a tab that was duplicated has the same ones as the tab that it came from. */
const CHANNEL = "enlarger.files";
const ANSWER_MS = 1000;

export class KeptFiles {
  /** What was chosen since the page was loaded: the browser reads these from where they lie. */
  #chosen = new Map();
  #database = null;
  #channel = new BroadcastChannel(CHANNEL);
  /** What is called when another tab answers that it uses a file, by the file's id. */
  #asked = new Map();
  #isUsed;

  /** @param {(id: string) => boolean} isUsed whether this tab needs a file */
  constructor(isUsed) {
    this.#isUsed = isUsed;
    this.#channel.addEventListener("message", ({ data: { asks, answers } }) => {
      if (asks && this.#isUsed(asks)) this.#channel.postMessage({ answers: asks });
      this.#asked.get(answers)?.();
    });
  }

  put(id, file) {
    this.#chosen.set(id, file);
    this.#write(id, file).catch(() => {});
  }

  /** @returns {Promise<Blob|null>} null: it did not outlive a reload */
  async get(id) {
    const chosen = this.#chosen.get(id);
    if (chosen) return chosen;
    try {
      const entry = await this.#do("readonly", (store) => store.get(id));
      return entry?.blob ?? null;
    } catch {
      return null;
    }
  }

  /** Keep what is shown of a file that no browser decodes, or that is elsewhere. */
  putShown(id, blob) {
    this.#write(`${id}${SHOWN}`, blob).catch(() => {});
  }

  /** @returns {Promise<Blob|null>} what was kept by `putShown` */
  getShown(id) {
    return this.get(`${id}${SHOWN}`);
  }

  /** Forget a file that this tab needs no longer. It stays where another tab needs it; none is kept for long. */
  async drop(id) {
    this.#chosen.delete(id);
    if (await this.#isUsedElsewhere(id)) return;
    for (const name of [id, `${id}${SHOWN}`]) {
      await this.#do("readwrite", (store) => store.delete(name)).catch(() => {});
    }
  }

  #isUsedElsewhere(id) {
    return new Promise((resolve) => {
      const answered = (isUsed) => {
        this.#asked.delete(id);
        resolve(isUsed);
      };
      this.#asked.set(id, () => answered(true));
      this.#channel.postMessage({ asks: id });
      setTimeout(() => answered(false), ANSWER_MS);
    });
  }

  async #write(id, blob) {
    await this.#do("readwrite", (store) => store.put({ id, blob, bytes: blob.size, at: Date.now() }));
    const entries = await this.#facts();
    let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of entries.sort((a, b) => a.at - b.at)) {
      if (bytes <= MOST_BYTES && Date.now() - entry.at < OLDEST_MS) return;
      bytes -= entry.bytes;
      await this.#do("readwrite", (store) => store.delete(entry.id));
    }
  }

  #facts() {
    return this.#do("readonly", (store) => store.getAll()).then((all) =>
      all.map(({ id, bytes, at }) => ({ id, bytes, at })),
    );
  }

  async #do(mode, action) {
    this.#database ??= opened();
    const database = await this.#database;
    return result(action(database.transaction(STORE, mode).objectStore(STORE)));
  }
}

function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE, { keyPath: "id" }));
  return result(request);
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
