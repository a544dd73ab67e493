// Looks at pictures as they come: their size, a small picture, and whether the service can read them.

import { ApiError } from "./api.js";
import { Queue } from "./queue.js";
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
  /** Jobs whose previews were asked for. */
  #previewed = new Set();

  constructor(api, pictures, files) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    pictures.addEventListener("change", ({ detail }) => this.#complete(detail.id));
  }

  /** Look at a picture that is `reading`; afterwards it is `ready` or `refused`. */
  read(id) {
    return this.#queue.do(() => this.#read(id));
  }

  /** Make the small picture again, after a reload. */
  async restore(id) {
    const { phase, fileId } = this.#pictures.get(id);
    if (phase === "succeeded") return; // the service has a preview, which is decoded much sooner
    const blob = await this.#files.get(fileId);
    if (blob) await this.#queue.do(() => this.#look(id, blob).catch(() => {}));
  }

  /** Give a finished picture its small picture: it came by URL, the browser cannot read it, or the page was loaded again. */
  async #complete(id) {
    const picture = this.#pictures.get(id);
    if (picture?.phase !== "succeeded" || picture.thumbnail || this.#previewed.has(picture.jobId)) return;
    this.#previewed.add(picture.jobId);
    await this.#queue.do(async () => {
      try {
        const blob = await this.#api.blob(`v1/jobs/${picture.jobId}/input?max_side=${PREVIEW_PX}`);
        const { small } = await decoder.call("thumbnail", { blob, side: THUMBNAIL_PX });
        this.#pictures.update(id, { thumbnail: small });
      } catch {
        const file = await this.#files.get(picture.fileId);
        if (file) await this.#look(id, file).catch(() => {});
      }
    });
  }

  async #read(id) {
    const picture = this.#pictures.get(id);
    if (!picture) return;
    const blob = picture.url ? null : await this.#files.get(picture.fileId);
    const isSeen = blob && (await this.#look(id, blob).catch(() => false));
    if (isSeen && SHARED.has(blob.type)) {
      this.#pictures.update(id, { phase: "ready" });
      return;
    }
    await this.#ask(id, blob);
  }

  async #look(id, blob) {
    const { width, height, small } = await decoder.call("thumbnail", { blob, side: THUMBNAIL_PX });
    this.#pictures.update(id, { width, height, thumbnail: small });
    return true;
  }

  /** Ask the service, which says what is wrong in its own words. At scale 1 the result has the picture's size. */
  async #ask(id, blob) {
    const { url, width } = this.#pictures.get(id);
    try {
      const answer = url
        ? await this.#api.post("v1/estimate", { img_url: url, scale: 1 })
        : await this.#api.json("v1/estimate?scale=1", { method: "POST", body: blob });
      if (answer.problem) throw new ApiError(answer.problem.status, answer.problem);
      const size = width ? {} : answer.output;
      this.#pictures.update(id, { phase: "ready", ...size });
    } catch (error) {
      if (!(error instanceof ApiError)) {
        // No connection: whoever starts it will see.
        this.#pictures.update(id, { phase: "ready" });
      } else {
        this.#pictures.update(id, { phase: "refused", problem: error.message });
      }
    }
  }
}
