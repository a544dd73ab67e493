// The pictures of this tab: what is known of each, and what happens to it.

const STORED = "enlarger.pictures";
const STORE_MS = 400;

/** Phases of a picture before it is a job; a job's own states follow. */
export const PHASES = [
  "reading",
  "refused",
  "ready",
  "sending",
  "queued",
  "running",
  "succeeded",
  "failed",
  "canceled",
  "expired",
];

/** What of a picture outlives a reload, in the tab's own storage. */
const LASTING = [
  "id",
  "fileId",
  "name",
  "bytes",
  "type",
  "url",
  "width",
  "height",
  "isAnimation",
  "frames",
  "phase",
  "problem",
  "code",
  "options",
  "output",
  "key",
  "jobId",
  "job",
];

/**
 * @typedef {Object} Picture
 * @property {string} id
 * @property {string} fileId names its file in `KeptFiles`
 * @property {string} name
 * @property {string|null} url where the service fetches it; null: the file is here
 * @property {boolean} isAnimation
 * @property {number|null} frames null: they were not counted
 * @property {string} phase see `PHASES`
 * @property {string} problem what is wrong, in words
 * @property {string} code of the error with which the service refused its request
 * @property {boolean} isUploading whether it is sent just now: the others that are `sending` wait for their turn
 * @property {Object} options of its request, once it is sent
 * @property {Object|null} output size of its result, as it was estimated
 * @property {string} key `Idempotency-Key` of its request
 * @property {string|null} jobId
 * @property {Object|null} job as the service told it last
 * @property {number|undefined} toldAt when the service told it, in milliseconds; undefined: before the page was loaded
 * @property {Object|null} estimate
 * @property {Map<number, Object>} tiles places of finished tiles, by index
 * @property {ImageBitmap|null} thumbnail
 */

/** Dispatches `change` with `{id}` when a picture changes, comes or goes, and `select` when another one is looked at.
 * Others dispatch `tick` while time passes for a picture that is made. */
export class Pictures extends EventTarget {
  #byId = new Map();
  #selectedId = null;
  #storage;
  #storing = null;

  /** @param {Storage} storage the tab's own */
  constructor(storage) {
    super();
    this.#storage = storage;
    globalThis.addEventListener?.("pagehide", () => this.#store());
  }

  get all() {
    return [...this.#byId.values()];
  }

  get selected() {
    return this.#byId.get(this.#selectedId) ?? null;
  }

  get(id) {
    return this.#byId.get(id);
  }

  byJob(jobId) {
    return this.all.find((picture) => picture.jobId === jobId);
  }

  inPhase(...phases) {
    return this.all.filter((picture) => phases.includes(picture.phase));
  }

  /** @returns {Picture} */
  add(facts) {
    const picture = {
      id: crypto.randomUUID?.() ?? fallbackId(),
      fileId: null,
      url: null,
      type: "",
      bytes: null,
      isAnimation: false,
      frames: null,
      phase: "reading",
      problem: "",
      code: "",
      isUploading: false,
      options: {},
      output: null,
      key: "",
      jobId: null,
      job: null,
      estimate: null,
      tiles: new Map(),
      thumbnail: null,
      ...facts,
    };
    picture.fileId ??= picture.id;
    this.#byId.set(picture.id, picture);
    this.#told("change", picture.id);
    return picture;
  }

  update(id, facts) {
    const picture = this.#byId.get(id);
    if (!picture) return;
    Object.assign(picture, facts);
    if ("job" in facts) picture.toldAt = Date.now();
    this.#told("change", id);
  }

  /**
   * Take pictures off the list.
   *
   * @param {string[]} ids
   * @returns {() => void} puts them back to where they were
   */
  remove(ids) {
    const before = this.all;
    const selectedId = this.#selectedId;
    const gone = new Set(ids.filter((id) => this.#byId.delete(id)));
    for (const id of gone) this.#told("change", id);
    if (gone.has(selectedId)) {
      const index = before.findIndex(({ id }) => id === selectedId);
      const stays = ({ id }) => !gone.has(id);
      this.select((before.slice(index).find(stays) ?? before.slice(0, index).findLast(stays))?.id ?? null);
    }
    return () => {
      const back = before
        .filter(({ id }) => gone.has(id) || this.#byId.has(id))
        .map((picture) => [picture.id, picture]);
      this.#byId = new Map([...back, ...this.#byId]);
      for (const id of gone) this.#told("change", id);
      if (gone.has(selectedId)) this.select(selectedId);
    };
  }

  select(id) {
    if (id === this.#selectedId) return;
    this.#selectedId = id;
    this.#told("select", id);
  }

  /** Whether the file of a removed picture is that of another one, too. */
  sharesFile(fileId) {
    return this.all.some((picture) => picture.fileId === fileId);
  }

  /** Take up the pictures that this tab had before it was loaded again. */
  restore() {
    const stored = JSON.parse(this.#storage.getItem(STORED) ?? "{}");
    for (const facts of stored.pictures ?? []) this.add(facts);
    this.select(this.#byId.has(stored.selectedId) ? stored.selectedId : (this.all[0]?.id ?? null));
    return this.all;
  }

  #told(type, id) {
    this.dispatchEvent(new CustomEvent(type, { detail: { id } }));
    this.#storing ??= setTimeout(() => this.#store(), STORE_MS);
  }

  #store() {
    clearTimeout(this.#storing);
    this.#storing = null;
    const pictures = this.all.map((picture) => Object.fromEntries(LASTING.map((name) => [name, picture[name]])));
    try {
      this.#storage.setItem(STORED, JSON.stringify({ pictures, selectedId: this.#selectedId }));
    } catch {
      // The tab's storage is full, or switched off: a reload starts anew.
    }
  }
}

/** `randomUUID` is there on https and localhost alone. */
function fallbackId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
