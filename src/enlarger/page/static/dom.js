// Elements are made by calls, never from markup: what comes from outside can only ever be text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object} [attributes] `on` has listeners by event, `data` the data attributes; functions and properties such as
 *   `value` are set as properties; false, null and undefined leave an attribute out.
 * @param {...(Node|string|null|undefined|false)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else {
      setAttribute(element, name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "multiple",
  "open",
  "textContent",
  "webkitdirectory",
]);

/** Set an attribute, or remove it where the value is false, null or undefined. */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value)) {
    element.setAttribute(name, value === true ? "" : value);
  }
}

/** Set an element's text, and touch nothing if it is the same: live regions speak at each change. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make the children of an element equal to a list, moving and removing as few nodes as possible. */
export function setChildren(element, nodes) {
  const kept = new Set(nodes);
  for (const child of [...element.childNodes]) if (!kept.has(child)) child.remove();
  nodes.forEach((node, index) => {
    if (element.childNodes[index] !== node) element.insertBefore(node, element.childNodes[index] ?? null);
  });
}

/** Paths of 24x24 icons, drawn with a stroke. */
const ICONS = {
  add: "M12 5v14M5 12h14",
  again: "M4 12a8 8 0 0 1 14-5.3L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.3L4 15M4 20v-5h5",
  blink: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  cancel: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5 10 17.5 19.5 7",
  compare: "M4 5h7v6H4zM13 13h7v6h-7zM13 5h7v4h-7zM4 15h7v4H4z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  curtain: "M12 3v18M8 9l-3 3 3 3M16 9l3 3-3 3",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  folder: "M3.5 18.5v-13h6l2 2.5h9v10.5z",
  help: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.500 9.700a2.500 2.500 0 1 1 3.700 2.200c-.8.5-1.200.9-1.200 1.800M12 16.700v.01",
  info: "M12 11v6M12 7.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1",
  loupe: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13ZM15.500 15.500 20.500 20.500",
  minus: "M5 12h14",
  open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  picture: "M3.500 5h17v14h-17zM3.500 16l5-5 4 4 3-3 5 5M15.500 9.500v.01",
  settings:
    "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM9 19.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Z",
  side: "M3.500 5h17v14h-17zM12 5v14",
  trash: "M5 7h14M9 7V4.500h6V7M7 7l1 13h8l1-13M10.500 11v5.500M13.500 11v5.500",
  warning: "M12 4 21.500 20h-19zM12 10v4.500M12 17.200v.01",
  zip: "M5 3.500h14v17H5zM12 3.500v2M12 8v2M12 12.500v4",
};

/** Make an icon. It says nothing to a screen reader: the text beside it, or the label of its button, does. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Make a button with an icon, a text, or both. Without a visible text, `label` is its name and its tooltip. */
export function button({ icon: name, text, label, kind = "", press, ...attributes }) {
  return h(
    "button",
    {
      type: "button",
      class: `button ${kind} ${text ? "" : "bare"}`,
      "aria-label": label,
      title: text ? undefined : label,
      on: press ? { click: press } : {},
      ...attributes,
    },
    name && icon(name),
    text && h("span", {}, text),
  );
}
