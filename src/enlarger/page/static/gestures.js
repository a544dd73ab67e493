// Moves a view by mouse, wheel, touch, pinch, double click and keyboard.

const WHEEL_STEP = 0.0016;
const KEY_STEP = 1.25;
const PAN_STEP_PX = 64;
const DOUBLE_TAP_MS = 320;

/**
 * Let people move a view on an element.
 *
 * @param {HTMLElement} element gets the pointer events
 * @param {import("./view.js").View} view
 * @param {() => boolean} [isFree] false while something else wants the pointer
 * @param {() => boolean} [scrolls] whether the wheel scrolls what is around the element: with Ctrl, it still zooms
 */
export function attachGestures(element, view, isFree = () => true, scrolls = () => false) {
  const pointers = new Map();
  let lastTap = { at: 0, x: 0, y: 0 };

  const place = (event) => {
    const box = element.getBoundingClientRect();
    // Views side by side share one view: each is a pane of the same size.
    return { x: (event.clientX - box.left) % view.viewport.width, y: (event.clientY - box.top) % view.viewport.height };
  };

  /** Whether something inside the element wants the pointer for itself. */
  const isOthers = (target) => {
    const own = target.closest("button, input, a, [data-own-pointer]");
    return Boolean(own) && own !== element && element.contains(own);
  };

  element.addEventListener("pointerdown", (event) => {
    if (!isFree() || event.button > 1 || isOthers(event.target)) return;
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    element.classList.add("is-grabbed");
  });
  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    if (pointers.size === 1) {
      view.panBy(now.x - before.x, now.y - before.y);
    } else if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
      const apart = (a, b) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
      const from = middle(before, other);
      const to = middle(now, other);
      view.zoomBy(apart(now, other) / apart(before, other), from);
      view.panBy(to.x - from.x, to.y - from.y);
    }
    pointers.set(event.pointerId, now);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    element.addEventListener(type, (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (!pointers.size) element.classList.remove("is-grabbed");
      if (type === "pointerup" && event.pointerType === "touch" && !pointers.size) tapped(event);
    });
  }
  element.addEventListener("dblclick", (event) => {
    if (isFree() && !event.target.closest("button, input, a")) toggle(place(event));
  });
  element.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && scrolls()) return;
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
      // A pinch on a trackpad comes as a wheel with Ctrl, in small steps.
      const step = event.ctrlKey ? WHEEL_STEP * 6 : WHEEL_STEP;
      view.zoomBy(Math.exp(-event.deltaY * unit * step), place(event));
    },
    { passive: false },
  );

  function tapped(event) {
    const point = place(event);
    const isDouble =
      event.timeStamp - lastTap.at < DOUBLE_TAP_MS && Math.hypot(point.x - lastTap.x, point.y - lastTap.y) < 30;
    lastTap = { at: isDouble ? 0 : event.timeStamp, ...point };
    if (isDouble) toggle(point);
  }

  function toggle(point) {
    if (view.isFitted) view.zoomTo(Math.max(view.actual, view.fitted * 2), point);
    else view.fit();
  }
}

/** Move a view by a key. Returns whether the key was one of its own. */
export function moveByKey(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const moves = {
    "+": () => view.zoomBy(KEY_STEP),
    "=": () => view.zoomBy(KEY_STEP),
    "-": () => view.zoomBy(1 / KEY_STEP),
    0: () => view.fit(),
    1: () => view.zoomTo(view.actual),
    ArrowLeft: () => view.panBy(PAN_STEP_PX, 0),
    ArrowRight: () => view.panBy(-PAN_STEP_PX, 0),
    ArrowUp: () => view.panBy(0, PAN_STEP_PX),
    ArrowDown: () => view.panBy(0, -PAN_STEP_PX),
  };
  moves[event.key]?.();
  return event.key in moves;
}
