// The service: its model servers, how busy they are, and what they did since the page was opened.

import { sleep } from "./api.js";
import { h, setAttribute, setChildren, setText } from "./dom.js";
import { parseMetrics, picturesMade } from "./prometheus.js";
import { formatBytes, formatNumber, hasText, t } from "./texts.js";

const LOOK_MS = 2000;
const GLANCE_MS = 10_000;
const KEPT = 40;
const SVG = "http://www.w3.org/2000/svg";

export class Service {
  #api;
  #first = null;
  #made = { first: null, now: null };
  #series = new Map();
  #isOpen = false;

  constructor(api) {
    this.#api = api;
    this.#dot = h("span", { class: "dot", "aria-hidden": "true" });
    this.#summary = h("span", {}, t("service.unknown"));
    this.button = h(
      "button",
      { type: "button", class: "button service-button", popovertarget: "service" },
      this.#dot,
      this.#summary,
    );
    this.#facts = h("dl", { class: "service-facts" });
    this.#servers = h("tbody", {});
    this.panel = h(
      "section",
      {
        class: "service-panel",
        id: "service",
        popover: "auto",
        "aria-labelledby": "service-title",
        on: {
          toggle: (event) => {
            this.#isOpen = event.newState === "open";
            if (this.#isOpen) this.#look();
          },
        },
      },
      h("h2", { id: "service-title" }, t("service.title")),
      this.#facts,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["server", "state", "inHand", "tiles", "speed", "memory"].map((name) =>
              h("th", { scope: "col" }, t(`service.${name}`)),
            ),
          ),
        ),
        this.#servers,
      ),
      h("p", { class: "links" }, h("a", { href: "docs" }, t("service.docs"))),
    );
    api.addEventListener("connection", () => this.#connection());
  }

  #dot;
  #summary;
  #facts;
  #servers;

  /**
   * Look at the service until the page is closed: never while nobody sees the page, and more often where it matters.
   *
   * @param {() => boolean} isWorking whether pictures of this tab are being made
   */
  async run(isWorking) {
    for (;;) {
      if (!document.hidden) await this.#look();
      await sleep(this.#isOpen || isWorking() ? LOOK_MS : GLANCE_MS);
    }
  }

  async #look() {
    try {
      const status = await this.#api.json("status");
      if (this.#isOpen || this.#made.first === null) {
        const metrics = await this.#api.call("metrics").then((response) => response.text());
        this.#made.now = picturesMade(parseMetrics(metrics));
        this.#made.first ??= this.#made.now;
      }
      this.#first ??= new Map(status.servers.map((server) => [server.name, server.tiles_done]));
      this.#show(status);
    } catch {
      this.#connection();
    }
  }

  #connection() {
    if (this.#api.isConnected) return;
    this.#dot.dataset.state = "away";
    setText(this.#summary, t("service.away"));
  }

  #show(status) {
    const { requests, megapixels } = status.queue;
    this.#dot.dataset.state = status.model_servers_ready ? (requests ? "busy" : "ready") : "starting";
    setText(this.#summary, summaryOf(status));
    if (!this.#isOpen) return;
    this.#showFacts([
      [
        "service.queue",
        t("service.queued", { n: requests, megapixels: formatNumber(megapixels, { maximumFractionDigits: 1 }) }),
      ],
      ["service.pictures", formatNumber(Math.max(0, (this.#made.now ?? 0) - (this.#made.first ?? 0)))],
      ["service.version", status.version],
    ]);
    setChildren(
      this.#servers,
      status.servers.map((server) => this.#row(server)),
    );
  }

  #showFacts(facts) {
    setChildren(
      this.#facts,
      facts.map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, value))),
    );
  }

  #row(server) {
    const series = this.#series.get(server.name) ?? [];
    series.push({ at: performance.now(), tiles: server.tiles_done });
    if (series.length > KEPT) series.shift();
    this.#series.set(server.name, series);
    const rates = ratesOf(series);
    const state = hasText(`server.${server.state}`) ? t(`server.${server.state}`) : server.state;
    const chip = h("span", { class: "chip" }, state);
    setAttribute(chip, "data-state", server.state);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, server.name),
      h("td", {}, chip),
      h("td", { class: "figure" }, formatNumber(server.tiles_in_flight)),
      h("td", { class: "figure" }, formatNumber(server.tiles_done - (this.#first.get(server.name) ?? 0))),
      h(
        "td",
        { class: "figure" },
        sparkline(rates),
        t("service.perMinute", { n: Math.round((rates.at(-1) ?? 0) * 60) }),
      ),
      h("td", { class: "figure" }, server.rss_mb === null ? "" : formatBytes(server.rss_mb * 1_048_576)),
    );
  }
}

function summaryOf({ model_servers_ready: ready, model_servers: all, queue }) {
  if (!ready) return t("service.starting");
  if (queue.requests) return t("service.busy", { n: queue.requests });
  return t("service.ready", { n: ready, all });
}

/** Tiles a second between each two looks. */
export function ratesOf(series) {
  return series.slice(1).map((point, index) => {
    const before = series[index];
    return Math.max(0, point.tiles - before.tiles) / Math.max(0.001, (point.at - before.at) / 1000);
  });
}

function sparkline(rates) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("viewBox", `0 0 ${KEPT} 16`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const top = Math.max(...rates, 0.001);
  const line = document.createElementNS(SVG, "polyline");
  const start = KEPT - rates.length;
  line.setAttribute("points", rates.map((rate, index) => `${start + index},${15 - (14 * rate) / top}`).join(" "));
  svg.append(line);
  return svg;
}
