// Decides what the stage shows of the picture that is looked at: its file, the tiles that come, its result.

import { ApiError, ConnectionLost } from "./api.js";
import { BitmapLayer, LiveLayer, PyramidLayer } from "./layers.js";
import { inputPlace } from "./options.js";
import { isShowable, previewAddress, resultAddress } from "./results.js";
import { t } from "./texts.js";

const LARGEST_BEFORE_PX = 4096;
const RETRY_MS = 1000;

export class Show {
  #api;
  #pictures;
  #files;
  #stage;
  #isCalm;
  #notices;
  /** The picture that is shown, with its layers. */
  #shown = null;

  constructor({ api, pictures, files, stage, isCalm, notices }) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    this.#stage = stage;
    this.#isCalm = isCalm;
    this.#notices = notices;
    pictures.addEventListener("select", () => this.#open());
    pictures.addEventListener("change", ({ detail }) => {
      if (detail.id === this.#shown?.id) this.#update();
    });
  }

  /** The bitmap of the picture that is shown, as it came; null: it is not known here. */
  get before() {
    return this.#shown?.before?.bitmap ?? null;
  }

  /** Whether `before` is the service's preview, whose pixels are not those of the picture. */
  get isPreview() {
    return this.#shown?.isPreview ?? false;
  }

  #open() {
    this.#close();
    const picture = this.#pictures.selected;
    if (!picture) {
      this.#stage.show(null);
      return;
    }
    const shown = {
      id: picture.id,
      before: null,
      beforeOf: undefined,
      isPreview: false,
      hasLooked: false,
      live: null,
      result: null,
      resultOf: null,
      isNew: true,
    };
    this.#shown = shown;
    this.#update();
  }

  #close() {
    const shown = this.#shown;
    this.#shown = null;
    if (!shown) return;
    shown.isClosed = true;
    shown.before?.close();
    shown.live?.close();
    shown.result?.close();
  }

  /** Open the picture as it came: the chosen file, or else what the service keeps of it. */
  async #openBefore(shown, picture) {
    const jobId = picture.job?.input ? picture.jobId : null;
    if (shown.before || shown.beforeOf === jobId) return;
    shown.beforeOf = jobId;
    const whole = await this.#openFile(picture);
    const bitmap = whole ?? (jobId && (await this.#openPreview(shown, picture))) ?? (await this.#openKept(picture));
    shown.hasLooked = true;
    if (!bitmap) {
      if (!shown.isClosed) this.#update();
      return;
    }
    if (shown.isClosed || shown.before) {
      bitmap.close();
      return;
    }
    shown.isPreview = !whole;
    shown.before = new BitmapLayer(bitmap, { x: 0, y: 0, width: 1, height: 1 });
    this.#update();
  }

  /** Decode the chosen file. Returns null where there is none, or where the browser cannot show it. */
  async #openFile({ id, fileId, width, height }) {
    const file = await this.#files.get(fileId);
    if (!file) return null;
    const reduced = width ? Math.min(1, LARGEST_BEFORE_PX / Math.max(width, height)) : 1;
    const options =
      reduced < 1 ? { resizeWidth: Math.round(width * reduced), resizeHeight: Math.round(height * reduced) } : {};
    try {
      const bitmap = await createImageBitmap(file, options);
      if (!width) this.#pictures.update(id, { width: bitmap.width, height: bitmap.height });
      return bitmap;
    } catch {
      return null;
    }
  }

  /** Decode what the service shows of a job's input. Returns null where it has nothing, or not yet. */
  async #openPreview(shown, { jobId, fileId }) {
    try {
      const blob = await this.#api.blob(`v1/jobs/${jobId}/input`);
      this.#files.putShown(fileId, blob);
      return await createImageBitmap(blob);
    } catch (error) {
      const isEarly = error instanceof ApiError && error.status === 409;
      if (isEarly || error instanceof ConnectionLost) {
        setTimeout(() => {
          if (shown.isClosed) return;
          shown.beforeOf = undefined;
          this.#update();
        }, RETRY_MS);
      }
      return null;
    }
  }

  /** Decode what was shown of a picture before: of a job that the service knows no longer, or not yet. */
  async #openKept({ fileId }) {
    const blob = await this.#files.getShown(fileId);
    return blob && createImageBitmap(blob).catch(() => null);
  }

  #update() {
    const shown = this.#shown;
    const picture = this.#pictures.get(shown.id);
    if (!picture) return;
    this.#openBefore(shown, picture);
    const size = sizeOfResult(picture);
    if (!size) {
      if (shown.isNew) this.#stage.show(null, placeholderOf(shown, picture));
      return;
    }
    if (shown.before) shown.before.place = inputPlace(picture, size, picture.options);
    this.#updateLive(shown, picture, size);
    this.#updateResult(shown, picture);
    const after = [shown.live?.isEmpty ? null : shown.live, shown.result].filter(Boolean);
    const isBare = !shown.before && !after.length;
    const placeholder = isBare ? placeholderOf(shown, picture) : null;
    const state = `${size.width}/${size.height}/${Boolean(shown.before)}/${after.length}/${shown.result ? 1 : 0}/${picture.phase}/${placeholder?.text}`;
    if (state === shown.state) return;
    shown.state = state;
    const scene = {
      size,
      before: shown.before,
      after,
      hasAlpha: !isBare && mayHaveAlpha(picture),
      keep: !shown.isNew,
      label: picture.name,
    };
    this.#stage.show(scene, placeholder);
    shown.isNew = false;
  }

  #updateLive(shown, picture, size) {
    if (picture.phase !== "running") return;
    if (!picture.job?.progress?.tiles_total && !picture.tiles.size) return;
    shown.live ??= new LiveLayer(size, this.#stage.refresh, this.#isCalm);
    for (const place of picture.tiles.values()) {
      if (shown.live.has(place.index)) continue;
      const added = shown.live.add(place, () => this.#api.blob(`v1/jobs/${picture.jobId}/tiles/${place.index}`));
      added.then(() => {
        if (shown.isClosed || shown.hasTiles || !shown.live || shown.live.isEmpty) return;
        // Only now there is something to compare.
        shown.hasTiles = true;
        this.#update();
      });
    }
  }

  async #updateResult(shown, picture) {
    if (picture.phase !== "succeeded" || shown.resultOf === picture.jobId) return;
    shown.resultOf = picture.jobId;
    const wasLive = Boolean(shown.live);
    try {
      const result = await this.#openResult(picture);
      if (shown.isClosed) {
        result.close();
        return;
      }
      shown.result = result;
      this.#update();
      this.#stage.reveal();
      // The result lies over the tiles; once it is drawn they are not needed.
      setTimeout(() => {
        if (shown.isClosed || !wasLive) return;
        shown.live.close();
        shown.live = null;
        this.#update();
      }, 1500);
    } catch {
      if (shown.isClosed) return;
      this.#notices.tell(t("stage.cannotShow"));
      this.#stage.reveal();
    }
  }

  /** Decode a result, or its preview where the browser cannot show it. */
  async #openResult(picture) {
    if (isShowable(picture)) {
      const blob = await this.#api.blob(resultAddress(picture));
      try {
        return await PyramidLayer.open(blob, this.#stage.refresh);
      } catch {
        // The browser does not read this format, or has too little memory.
      }
    }
    const { width, height } = picture.job.result;
    const bitmap = await createImageBitmap(await this.#api.blob(previewAddress(picture)));
    return new BitmapLayer(bitmap, { x: 0, y: 0, width, height }, { isWhole: true });
  }
}

/** What stands where nothing of a picture can be shown. Nothing, while it may come in a moment. */
function placeholderOf(shown, { url, phase }) {
  if (phase === "succeeded" || !shown.hasLooked) return null;
  if (url && !["failed", "refused"].includes(phase)) {
    return { icon: "link", text: t("stage.willFetch", { host: new URL(url).host }) };
  }
  return { icon: "picture", text: t(["reading", "ready"].includes(phase) ? "stage.notYet" : "stage.nothing") };
}

function mayHaveAlpha({ job, type }) {
  return job?.result ? job.result.kept.includes("alpha") : type !== "image/jpeg";
}

/** Pixels of a picture's result, as far as is known: of the input, where nothing is. */
function sizeOfResult(picture) {
  const { job, estimate, width, height, tiles } = picture;
  if (job?.result) return { width: job.result.width, height: job.result.height };
  if (picture.output) return picture.output;
  if (estimate?.output) return estimate.output;
  if (tiles.size) {
    const all = [...tiles.values()];
    return {
      width: Math.max(...all.map((tile) => tile.x + tile.w)),
      height: Math.max(...all.map((tile) => tile.y + tile.h)),
    };
  }
  return width ? { width, height } : null;
}
