// A control for each further option, by what the service says of it.

import { h } from "./dom.js";
import { hasText, t } from "./texts.js";

/** What a value of an option is called. */
function choiceText(choice) {
  return hasText(`choice.${choice}`) ? t(`choice.${choice}`) : String(choice);
}

function optionsOf(choices, isOptional) {
  return [
    isOptional && h("option", { value: "" }, t("settings.unset")),
    ...choices.map((choice) => h("option", { value: choice }, choiceText(choice))),
  ].filter(Boolean);
}

/**
 * Make the control of an option, with its label and its hint.
 *
 * @param {Object} option of `readOptions`
 * @param {{current: *, levels: number[]|null, proposals: string[], take: (value: string|boolean) => void}} state
 */
export function controlOf(option, { current, levels, proposals, take }) {
  const id = `option-${option.name}`;
  const described = { id, "aria-describedby": `${id}-text` };
  let control;
  if (option.kind === "boolean") {
    control = h("input", {
      ...described,
      type: "checkbox",
      checked: Boolean(current),
      on: { change: () => take(control.checked) },
    });
  } else if (option.kind === "choice" || levels) {
    control = h(
      "select",
      { ...described, on: { change: () => take(control.value) } },
      optionsOf(levels ?? option.choices, option.preset === undefined),
    );
    control.value = current ?? "";
  } else if (option.kind === "open" && option.choices.length) {
    control = choiceOrNumber(described, option.choices, current, take);
  } else {
    const list = proposals.length
      ? h(
          "datalist",
          { id: `${id}-list` },
          proposals.map((choice) => h("option", { value: choice })),
        )
      : null;
    control = h("input", {
      ...described,
      type: option.kind === "number" ? "number" : "text",
      min: option.minimum,
      max: option.maximum,
      step: option.step,
      pattern: option.pattern,
      list: list?.id,
      placeholder: t("settings.unset"),
      value: current ?? "",
      on: { change: () => take(control.value) },
    });
    if (list) control.append(list);
  }
  const hint = hasText(`hint.${option.name}`) ? t(`hint.${option.name}`) : option.description.replaceAll("`", "");
  const label = hasText(`option.${option.name}`) ? t(`option.${option.name}`) : option.name.replaceAll("_", " ");
  return h(
    "div",
    { class: `option ${option.kind}` },
    h("label", { for: id }, label),
    control,
    h("p", { id: `${id}-text`, class: "hint" }, hint),
  );
}

/** Some words, or a number that people write beside them. */
function choiceOrNumber(described, choices, current, take) {
  const isNumber = typeof current === "number";
  const select = h(
    "select",
    {
      ...described,
      on: {
        change: () => {
          number.hidden = select.value !== "number";
          take(number.hidden ? select.value : number.value);
          if (!number.hidden) number.focus();
        },
      },
    },
    optionsOf(choices, true),
    h("option", { value: "number" }, t("settings.count")),
  );
  select.value = isNumber ? "number" : (current ?? "");
  const number = h("input", {
    type: "number",
    min: 1,
    step: 1,
    "aria-label": t("settings.count"),
    hidden: !isNumber,
    value: isNumber ? current : "",
    on: { change: () => take(number.value) },
  });
  return h("div", { class: "choice-or-number" }, select, number);
}
