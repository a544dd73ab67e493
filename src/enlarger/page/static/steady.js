// Takes the second click of a double click for nothing, where something else has come under the pointer since the first one.

const DOUBLE_MS = 600;
const NEAR_PX = 12;

/** Whether a click, of which `{control, at, x, y}` is known, is the other half of a double click on another control. */
export function isStray(click, last) {
  if (!last || click.control === last.control || click.at - last.at > DOUBLE_MS) return false;
  return Math.hypot(click.x - last.x, click.y - last.y) <= NEAR_PX;
}

/**
 * Keep a double click on a button of `element` from pressing what lies there after the first click.
 *
 * @param {HTMLElement} element
 */
export function keepSteady(element) {
  let last = null;
  for (const type of ["click", "dblclick"]) {
    addEventListener(
      type,
      (event) => {
        // A click of the keyboard has the detail 0.
        if (!event.isTrusted || !event.detail) return;
        const control = event.target.closest?.("button") ?? null;
        const click = { control, at: event.timeStamp, x: event.clientX, y: event.clientY };
        if (isStray(click, last)) {
          event.preventDefault();
          event.stopImmediatePropagation();
        } else if (type === "click") {
          last = element.contains(control) ? click : null;
        }
      },
      { capture: true },
    );
  }
}
