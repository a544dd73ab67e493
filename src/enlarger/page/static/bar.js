// Below the picture: how far it is, or what came out, and what can be done with it.

import { button, h, setAttribute, setChildren, setText } from "./dom.js";
import { reportLines } from "./report.js";
import { fractionOf, statusText } from "./rows.js";
import { isSpecial } from "./service.js";
import { formatBytes, formatSeconds, formatSize, formatTime, t } from "./texts.js";

export class Bar {
  #pictures;
  #acts;
  #isAsked = false;

  /**
   * @param pictures
   * @param {Object<string, (id: string) => Promise<void>>} acts `download`, `copy`, `open`, `again`, `withFrames`, `end`
   */
  constructor(pictures, acts) {
    this.#pictures = pictures;
    this.#acts = acts;
    this.#title = h("h2", { class: "bar-title" });
    this.#text = h("p", { class: "bar-text" });
    this.#progress = h("progress", { max: 1, value: 0, "aria-label": t("bar.progress") });
    this.#buttons = h("div", { class: "bar-buttons" });
    this.report = h("div", {
      class: "report",
      id: "report",
      popover: "auto",
      role: "group",
      "aria-label": t("report.title"),
    });
    this.element = h(
      "div",
      { class: "info" },
      h("div", { class: "bar-words" }, this.#title, this.#text),
      this.#buttons,
      this.report,
      this.#progress,
    );
    this.#done = this.#makeDone();
    this.#cancel = button({ icon: "cancel", text: t("bar.cancel"), press: () => this.#act("end") });
    this.#frames = ["all", "first"].map((frames) =>
      button({ text: t(`choice.${frames}`), press: () => this.#act("withFrames", frames) }),
    );
    this.#retry = button({ icon: "again", text: t("bar.again"), press: () => this.#act("again") });
    for (const type of ["change", "select", "tick"]) {
      pictures.addEventListener(type, ({ detail }) => {
        if (type !== "change" || detail.id === pictures.selected?.id) this.#soon();
      });
    }
  }

  #title;
  #text;
  #progress;
  #buttons;
  #done;
  #cancel;
  #frames;
  #retry;

  #makeDone() {
    const copy = button({ icon: "copy", label: t("bar.copy"), press: () => this.#act("copy") });
    copy.hidden = !globalThis.ClipboardItem;
    return [
      button({ icon: "download", text: t("bar.download"), kind: "primary", press: () => this.#act("download") }),
      copy,
      button({ icon: "open", label: t("bar.open"), press: () => this.#act("open") }),
      button({ icon: "info", label: t("report.title"), popovertarget: "report" }),
      button({ icon: "again", text: t("bar.again"), kind: "again", press: () => this.#act("again") }),
    ];
  }

  #act(name, ...values) {
    const { selected } = this.#pictures;
    if (selected) this.#acts[name](selected.id, ...values);
  }

  #soon() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      this.#show();
    });
  }

  #show() {
    const picture = this.#pictures.selected;
    // Of a picture that can be started, all there is to say stands on the button.
    const isReady = picture?.phase === "ready" && !picture.estimate?.problem;
    this.element.hidden = !picture || isReady || picture.phase === "reading";
    if (this.element.hidden) return;
    const { phase } = picture;
    this.element.dataset.phase = phase;
    setText(this.#title, picture.name);
    const isMoving = ["sending", "queued", "running"].includes(phase);
    this.#progress.hidden = !isMoving;
    if (phase === "running") this.#progress.value = fractionOf(picture);
    else setAttribute(this.#progress, "value", null);
    setText(this.#text, phase === "succeeded" ? this.#resultText(picture) : statusText(picture));
    setAttribute(
      this.#text,
      "data-bad",
      phase === "failed" || phase === "refused" || Boolean(phase === "ready" && picture.estimate?.problem),
    );
    setChildren(this.#buttons, this.#buttonsFor(picture, isMoving));
    if (phase === "succeeded") this.#showReport(picture.job.result);
  }

  #buttonsFor({ phase, job, code }, isMoving) {
    if (isMoving) return [this.#cancel];
    if (phase === "succeeded") return this.#done;
    if (phase === "failed" && (job?.error?.code ?? code) === "animation_unsupported")
      return [...this.#frames, this.#retry];
    return ["failed", "canceled", "expired"].includes(phase) ? [this.#retry] : [];
  }

  #resultText({ job: { result, expires_at: expiresAt } }) {
    const seconds = (result.timing_ms?.total ?? 0) / 1000;
    return [
      formatSize(result),
      result.media_type.replace("image/", "").toUpperCase(),
      formatBytes(result.bytes),
      result.cache === "miss" ? t("bar.took", { time: formatSeconds(seconds) }) : t("bar.found"),
      t("bar.until", { time: formatTime(new Date(expiresAt ?? result.expires_at)) }),
    ].join(" · ");
  }

  #showReport(result) {
    const lines = reportLines(result);
    setChildren(this.report, [
      h("h2", {}, t("report.title")),
      lines.length
        ? h(
            "ul",
            {},
            lines.map(({ kind, text, detail, title }) =>
              h("li", { "data-kind": kind, title: title || null }, text, detail && h("small", {}, detail)),
            ),
          )
        : h("p", {}, t("report.nothing")),
      h(
        "p",
        { class: "hint" },
        t("report.made", {
          model: result.model,
          precision: result.precision,
          tiles: t("report.tiles", { n: result.tiles.total }),
          servers: t("report.servers", { n: result.tiles.servers }),
        }),
        isSpecial(result.device) && ` ${t("report.device", { device: result.device })}`,
      ),
    ]);
  }
}
