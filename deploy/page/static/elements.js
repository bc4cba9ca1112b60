// Elements and numbers. Text goes in as text only: what alerts contain is hostile.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);
export const element = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);
export const drawn = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** Set the text of an element, only when it is another: a screen reader reads what changes. */
export function say(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

export const whole = (n) => Math.round(n).toLocaleString("en");
export const words = (name) => name.replaceAll("_", " ");

/** Three digits or so, never more than are known. */
export function short(x) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  return size >= 100 ? whole(x) : x.toFixed(size >= 10 ? 1 : size === 0 ? 0 : 2);
}

export const timeOf = (ms, seconds = true) =>
  new Date(ms).toISOString().slice(11, seconds ? 19 : 16);

/** Steps of 1, 2 or 5 times a power of ten: about n of them over a length. */
export function stepOf(length, n) {
  const rough = length / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
}

/** Multiples of a step from low to high. */
export function ticks(low, high, step) {
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step || 0);
  return found;
}

/** As many decimals as the steps of an axis need. */
export const onAxis = (value, step) =>
  value.toLocaleString("en", { maximumFractionDigits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) });

/** Rows of a table: name, bar, figure. */
export function bars(table, rows, { most, figure }) {
  table.replaceChildren(
    ...rows.map(([name, value, kind = ""]) => {
      const width = most > 0 ? Math.min(100, (100 * value) / most) : 0;
      const bar = drawn("svg", { class: "bar", "aria-hidden": "true" });
      bar.append(drawn("rect", { width: `${width}%`, height: "100%", rx: 2, class: kind }));
      return element(
        "tr", {},
        element("th", { scope: "row" }, name),
        element("td", { class: "stretch" }, bar),
        element("td", { class: "number" }, figure(value)),
      );
    }),
  );
}
