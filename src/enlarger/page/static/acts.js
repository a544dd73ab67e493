// What people can do with pictures once they are in the list.

import { Comparison } from "./compare.js";
import { inputPlace, optionsFor, regionSide, secondsFor, settingsFor } from "./options.js";
import { errorText } from "./problems.js";
import { RegionPicker } from "./region.js";
import { isShowable, previewAddress, resultAddress } from "./results.js";
import { copyPicture, resultName, saveBlob } from "./saving.js";
import { modelTitle } from "./settings.js";
import { formatExpected, t } from "./texts.js";
import { zipper } from "./workers.js";

const MOVING = ["sending", "queued", "running"];

export class Acts {
  #api;
  #pictures;
  #files;
  #reader;
  #sender;
  #settings;
  #stage;
  #show;
  #notices;

  constructor({ api, pictures, files, reader, sender, settings, stage, show, notices }) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    this.#reader = reader;
    this.#sender = sender;
    this.#settings = settings;
    this.#stage = stage;
    this.#show = show;
    this.#notices = notices;
    this.#picker = new RegionPicker(stage);
    this.#comparison = new Comparison({
      api,
      files,
      stage,
      titleOf: (modelId) => this.#titleOf(modelId),
      choose: (picture, modelId) => this.#enlargeWith(picture, modelId),
    });
    pictures.addEventListener("select", () => {
      this.#picker.cancel();
      this.#comparison.close();
    });
  }

  #picker;
  #comparison;
  /** Pictures that were taken off the list and can be put back. */
  #gone = [];

  select = (id) => this.#pictures.select(id);

  /** Cancel what is being made, or take a picture off the list. */
  end = async (id) => {
    const picture = this.#pictures.get(id);
    if (!picture) return; // its row is shown until the next frame
    if (MOVING.includes(picture.phase)) await this.#tried(() => this.#sender.cancel(id));
    else this.#remove([picture], t("news.removed", { name: picture.name }));
  };

  /** Take all off the list that is not being made. */
  clear = () => {
    const { all } = this.#pictures;
    const gone = all.filter(({ phase }) => !MOVING.includes(phase));
    if (!gone.length) this.#notices.tell(t("news.moving"));
    else this.#remove(gone, t(gone.length < all.length ? "news.clearedSome" : "news.cleared", { n: gone.length }));
  };

  /** Take pictures off the list. Their files are kept for as long as it can be undone. */
  #remove(gone, text) {
    const putBack = this.#pictures.remove(gone.map(({ id }) => id));
    const undo = () => {
      this.#gone = [];
      putBack();
      for (const { id, phase } of gone) if (phase === "reading") this.#reader.read(id);
    };
    const missed = () => {
      // Others that were removed since may have the same file.
      if (this.#gone === gone) this.#gone = [];
      for (const { fileId } of gone) {
        if (!this.#pictures.sharesFile(fileId) && !this.mayPutBack(fileId)) this.#files.drop(fileId);
      }
    };
    this.#gone = gone;
    this.#notices.offerUndo(text, { undo, missed });
  }

  /** Whether a file is that of a picture which can still be put back. */
  mayPutBack(fileId) {
    return this.#gone.some((picture) => picture.fileId === fileId);
  }

  /** Send all that is ready. */
  startAll = () => {
    this.#api.remind();
    const { options, problem } = this.#settings;
    if (problem) return;
    for (const picture of this.#pictures.inPhase("ready")) {
      if (!picture.estimate?.problem) this.#sender.send(picture.id, optionsFor(picture, options));
    }
    this.#stage.element.focus({ preventScroll: true });
  };

  /** Take a picture once more, to be made with other settings. */
  again = (id) => {
    const picture = this.#pictures.get(id);
    const copied = this.#copyOf(picture);
    this.#settings.options = settingsFor(picture);
    this.#pictures.select(copied.id);
    this.#settings.focus();
  };

  /** Start again what failed since nobody had said which frames of the animation are wanted. */
  withFrames = (id, frames) => this.#sender.send(id, { ...this.#pictures.get(id).options, frames });

  download = (id) => this.#tried(async () => saveBlob(await this.#resultOf(id), resultName(this.#pictures.get(id))));

  copy = (id) =>
    this.#tried(async () => {
      const picture = this.#pictures.get(id);
      await copyPicture(() => this.#api.blob(isShowable(picture) ? resultAddress(picture) : previewAddress(picture)));
      this.#notices.tell(t("news.copied"));
    });

  open = async (id) => {
    // Opened at once: later it would be a window that nobody asked for.
    const tab = globalThis.open("", "_blank");
    await this.#tried(async () => {
      try {
        const url = URL.createObjectURL(await this.#resultOf(id));
        if (tab) tab.location.href = url;
      } catch (error) {
        tab?.close();
        throw error;
      }
    });
  };

  downloadAll = () =>
    this.#tried(async () => {
      const files = [];
      for (const picture of this.#pictures.inPhase("succeeded")) {
        files.push({ name: resultName(picture), blob: await this.#resultOf(picture.id) });
      }
      saveBlob(await zipper.call("zip", { files }), "upscaled.zip");
    });

  /** Let people choose a part of the picture, and have all models make it. */
  compareRegion = async () => {
    const { selected } = this.#pictures;
    if (!selected?.width) return;
    if (this.#settings.problem && !Object.keys(selected.options).length) {
      this.#notices.tell(this.#settings.problem);
      return;
    }
    // How fast they are may be known by now.
    await this.#tried(async () => this.#settings.setModels((await this.#api.json("v1/models")).models));
    if (this.#pictures.selected !== selected) return;
    const models = this.#settings.models.filter((model) => model.installed);
    const place = inputPlace(selected, this.#stage.view.size, selected.options);
    const told = (part) => {
      const seconds = secondsFor(part, models);
      return seconds === null ? "" : formatExpected(seconds);
    };
    const region = await this.#picker.choose(selected, place, regionSide(models), told);
    if (!region || this.#pictures.selected !== selected) return;
    const scale = place.width / selected.width;
    const options = this.#optionsOf(selected);
    const { before, isPreview } = this.#show;
    await this.#comparison.open(selected, before, { options, region, scale, models, isPreview });
  };

  /** Enlarge a whole picture with the model that was best at a part of it. */
  #enlargeWith(picture, model) {
    this.#settings.options = { ...this.#optionsOf(picture), model };
    const id = picture.phase === "ready" ? picture.id : this.#copyOf(picture).id;
    this.#pictures.select(id);
    this.#api.remind();
    this.#sender.send(id, optionsFor(picture, this.#settings.options));
  }

  /** What a picture was asked for with, or would be. */
  #optionsOf(picture) {
    return Object.keys(picture.options).length ? settingsFor(picture) : this.#settings.options;
  }

  #copyOf({ fileId, name, bytes, type, url, width, height, isAnimation, frames, thumbnail }) {
    const kept = { fileId, name, bytes, type, url, width, height, isAnimation, frames, thumbnail };
    return this.#pictures.add({ ...kept, phase: "ready" });
  }

  #titleOf(modelId) {
    const model = this.#settings.models.find(({ id }) => id === modelId);
    return model ? modelTitle(model) : modelId;
  }

  #resultOf(id) {
    return this.#api.blob(resultAddress(this.#pictures.get(id)));
  }

  async #tried(action) {
    this.#api.remind();
    try {
      await action();
    } catch (error) {
      this.#notices.tell(errorText(error));
    }
  }
}
