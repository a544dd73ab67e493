// The service: its model servers, how busy they are, and what they did since the page was opened.

import { sleep } from "./api.js";
import { h, setAttribute, setChildren, setText } from "./dom.js";
import { parseMetrics, picturesMade } from "./prometheus.js";
import { formatBytes, formatNumber, hasText, t } from "./texts.js";

const LOOK_MS = 2000;
const GLANCE_MS = 10_000;
const KEPT = 40;
const MINUTE_MS = 60_000;

/** Columns of servers, and whether they are figures. */
const COLUMNS = { server: false, state: false, inHand: true, tiles: true, speed: true, memory: true };
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
            if (!this.#isOpen) return;
            api.remind();
            this.#look();
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
            Object.entries(COLUMNS).map(([name, isFigure]) =>
              h("th", { scope: "col", class: isFigure && "figure" }, t(`service.${name}`)),
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
    addEventListener("online", () => this.#look());
    for (;;) {
      if (!document.hidden) await this.#look();
      await sleep(this.#isOpen || isWorking() || !this.#api.isConnected ? LOOK_MS : GLANCE_MS);
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
    for (const server of status.servers) this.#note(server);
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

  #note({ name, tiles_done: tiles }) {
    const series = this.#series.get(name) ?? [];
    series.push({ at: performance.now(), tiles });
    if (series.length > KEPT) series.shift();
    this.#series.set(name, series);
  }

  #row(server) {
    const rates = ratesOf(this.#series.get(server.name));
    const rate = rates.at(-1);
    const state = hasText(`server.${server.state}`) ? t(`server.${server.state}`) : server.state;
    const chip = h("span", { class: "chip" }, state);
    setAttribute(chip, "data-state", server.state);
    return h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        server.name,
        isSpecial(server.device) && h("small", { class: "device" }, server.device),
      ),
      h("td", {}, chip),
      h("td", { class: "figure" }, formatNumber(server.tiles_in_flight)),
      h("td", { class: "figure" }, formatNumber(server.tiles_done - (this.#first.get(server.name) ?? 0))),
      h(
        "td",
        { class: "figure" },
        sparkline(rates),
        rate ? t("service.perMinute", { n: Math.max(1, Math.round(rate * 60)) }) : "–",
      ),
      h("td", { class: "figure" }, server.rss_mb === null ? "" : formatBytes(server.rss_mb * 1_048_576)),
    );
  }
}

/** Whether a device is worth a word: most services have nothing but CPUs. */
export function isSpecial(device) {
  return Boolean(device) && device !== "cpu";
}

function summaryOf({ model_servers_ready: ready, model_servers: all, queue }) {
  if (!ready) return t("service.starting");
  if (queue.requests) return t("service.busy", { n: queue.requests });
  return t("service.ready", { n: ready, all });
}

/**
 * Tiles a second at each look but the first, over the minute before it: a tile may take longer than the time between two looks.
 *
 * @param {{at: number, tiles: number}[]} series looks, with their milliseconds
 */
export function ratesOf(series) {
  return series.slice(1).map((point, index) => {
    let tiles = 0;
    let first = index + 1;
    // A server that was replaced counts from zero again.
    do {
      tiles += Math.max(0, series[first].tiles - series[first - 1].tiles);
      first--;
    } while (first > 0 && point.at - series[first - 1].at <= MINUTE_MS);
    return tiles / Math.max(0.001, (point.at - series[first].at) / 1000);
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
