// Opens panels above the bar that holds their buttons, so that they never cover it.

const GAP_PX = 8;

/** Have panels open above an element, however high it is by then. */
export function openAbove(element, panels) {
  for (const panel of panels) {
    panel.addEventListener("beforetoggle", ({ newState }) => {
      if (newState !== "open") return;
      const free = element.getBoundingClientRect().top;
      // On a page that was scrolled there may be too little room above it.
      const bottom = free < innerHeight / 3 ? GAP_PX : innerHeight - free + GAP_PX;
      panel.style.setProperty("--above", `${bottom}px`);
    });
  }
}
