// Looks at pictures as they come: their size, a small picture, and whether the service can read them.

import { ApiError, KeyNeeded } from "./api.js";
import { Queue } from "./queue.js";
import { t } from "./texts.js";
import { decoder } from "./workers.js";

const THUMBNAIL_PX = 96;

/** Of the service's preview, whose longer side is meant: a picture twice as wide as high is as large as any other. */
const PREVIEW_PX = 2 * THUMBNAIL_PX;

const AT_ONCE = 3;

/** Types that browser and service both read. Whether the service reads another one, it says itself. */
const SHARED = new Set(["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/avif"]);

export class Reader {
  #api;
  #pictures;
  #files;
  #queue = new Queue(AT_ONCE);
  #largestBytes = Number.POSITIVE_INFINITY;
  /** Jobs whose previews were asked for. */
  #previewed = new Set();

  constructor(api, pictures, files) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    pictures.addEventListener("change", ({ detail }) => this.#complete(detail.id));
    api.addEventListener("resume", () => {
      // Whoever had no answer is read again: its size, and whether the service reads it, are not known.
      for (const { id, width } of pictures.inPhase("ready")) if (!width) this.read(id);
    });
  }

  /** Refuse files of more bytes than the service reads, before anybody sends one. */
  setLargest(bytes) {
    this.#largestBytes = bytes;
    for (const picture of this.#pictures.inPhase("reading", "ready")) this.#isRefused(picture);
  }

  #isRefused({ id, url, bytes }) {
    if (url || bytes <= this.#largestBytes) return false;
    this.#become(id, { phase: "refused", problem: t("row.tooLarge", { bytes, most: this.#largestBytes }) });
    return true;
  }

  /** Look at a picture that is `reading`; afterwards it is `ready` or `refused`. */
  read(id) {
    return this.#queue.do(() => this.#read(id));
  }

  /** Make the small picture again, after a reload. */
  async restore(id) {
    if (this.#pictures.get(id).phase === "succeeded") return; // the service has a preview, which is decoded much sooner
    await this.#queue.do(() => this.#lookAgain(id));
  }

  /** Make the small picture of the file, or of what was shown of one that the browser does not decode. */
  async #lookAgain(id) {
    const { fileId } = this.#pictures.get(id) ?? {};
    try {
      const file = await this.#files.get(fileId);
      if (file && (await this.#look(id, file).catch(() => false))) return;
      const blob = await this.#files.getShown(fileId);
      if (blob) this.#pictures.update(id, { thumbnail: await smallOf(blob) });
    } catch {
      // It stays without one.
    }
  }

  /** Give a finished picture its small picture: it came by URL, the browser cannot read it, or the page was loaded again. */
  async #complete(id) {
    const picture = this.#pictures.get(id);
    if (picture?.phase !== "succeeded" || picture.thumbnail || this.#previewed.has(picture.jobId)) return;
    this.#previewed.add(picture.jobId);
    await this.#queue.do(async () => {
      try {
        const blob = await this.#api.blob(`v1/jobs/${picture.jobId}/input?max_side=${PREVIEW_PX}`);
        this.#pictures.update(id, { thumbnail: await smallOf(blob) });
        if (!SHARED.has(picture.type) && !(await this.#files.getShown(picture.fileId))) {
          this.#files.putShown(picture.fileId, blob);
        }
      } catch {
        await this.#lookAgain(id);
      }
    });
  }

  async #read(id) {
    const picture = this.#pictures.get(id);
    if (!picture) return;
    const blob = picture.url ? null : await this.#files.get(picture.fileId);
    const isRefused = this.#isRefused(picture);
    const isSeen = blob && (await this.#look(id, blob).catch(() => false));
    if (isRefused) return;
    if (isSeen && SHARED.has(blob.type)) {
      this.#become(id, { phase: "ready" });
      return;
    }
    await this.#ask(id, blob);
  }

  /** Tell what was found, unless the picture was sent meanwhile. */
  #become(id, facts) {
    if (["reading", "ready"].includes(this.#pictures.get(id)?.phase)) this.#pictures.update(id, facts);
  }

  async #look(id, blob) {
    const { width, height, small, frames } = await decoder.call("thumbnail", { blob, side: THUMBNAIL_PX });
    this.#pictures.update(id, { width, height, thumbnail: small, isAnimation: frames !== 1, frames });
    return true;
  }

  /** Ask the service, which says what is wrong in its own words. At scale 1 the result has the picture's size. */
  async #ask(id, blob, options = { scale: 1 }) {
    const picture = this.#pictures.get(id);
    if (!picture) return; // it was taken off the list meanwhile
    const { url, width } = picture;
    try {
      const answer = url
        ? await this.#api.post("v1/estimate", { img_url: url, ...options })
        : await this.#api.json(`v1/estimate?${new URLSearchParams(options)}`, { method: "POST", body: blob });
      if (answer.problem) throw new ApiError(answer.problem.status, answer.problem);
      const size = width ? {} : answer.output;
      this.#become(id, { phase: "ready", ...size });
    } catch (error) {
      if (error.code === "animation_unsupported" && !options.frames) {
        this.#become(id, { isAnimation: true });
        await this.#ask(id, blob, { ...options, frames: "first" });
      } else if (!(error instanceof ApiError) || error instanceof KeyNeeded) {
        // No answer: whoever starts it will see.
        this.#become(id, { phase: "ready" });
      } else {
        this.#become(id, { phase: "refused", problem: error.message });
      }
    }
  }
}

async function smallOf(blob) {
  const { small } = await decoder.call("thumbnail", { blob, side: THUMBNAIL_PX });
  return small;
}
