// Reads the text form of Prometheus metrics.

/**
 * @param {string} text
 * @returns {{name: string, labels: Object<string, string>, value: number}[]}
 */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!match || line.startsWith("#")) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(["\\])/g, "$1").replaceAll("\\n", "\n");
    }
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

/** How many pictures were made, by all ends that have a result. */
export function picturesMade(samples) {
  return samples
    .filter(
      ({ name, labels }) => name === "enlarger_requests_total" && ["miss", "hit", "coalesced"].includes(labels.end),
    )
    .reduce((sum, { value }) => sum + value, 0);
}
