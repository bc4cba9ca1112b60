// Lines over the last hour, with axes, in SVG.

import { byId, drawn, onAxis, short, stepOf, ticks, timeOf } from "./elements.js";

const HEIGHT = 142;
const MARGIN = { left: 44, right: 10, top: 24, bottom: 20 };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LEAST = 5 * MINUTE;

/** A chart in the element of an id; lines are [column of the history, class, name]. */
export class LineChart {
  constructor(id, unit, lines) {
    this.host = byId(id);
    this.unit = unit;
    this.lines = lines;
    this.pointer = null;
    this.svg = drawn("svg", { class: "lines", height: HEIGHT, role: "img" });
    this.host.append(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.host);
  }

  show(history, now) {
    this.history = history;
    this.now = now;
    this.draw();
  }

  point(x) {
    this.pointer = x;
    this.draw();
  }

  draw() {
    const { history, now } = this;
    const width = this.host.clientWidth;
    if (!history || width < 100) return;
    const times = history.end_ms;
    const start = Math.max(now - HOUR, Math.min(now - LEAST, (times[0] ?? now) - history.sample_s * 1000));
    const highest = Math.max(0, ...this.lines.flatMap(([column]) => history[column]));
    const step = stepOf(highest || 1, 3);
    const top = Math.ceil((highest || 1) / step - 1e-9) * step;
    const x = (t) => MARGIN.left + ((t - start) / (now - start)) * (width - MARGIN.left - MARGIN.right);
    const y = (v) => HEIGHT - MARGIN.bottom - (v / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", this.inWords());
    this.svg.replaceChildren(
      ...this.axes(start, width, top, step, x, y),
      ...this.lines.flatMap(([column, kind]) => curve(times, history[column], kind, start, x, y, history.sample_s)),
      ...this.legend(width),
      ...this.reading(times, start, width, x),
    );
  }

  axes(start, width, top, step, x, y) {
    const minutes = [1, 2, 5, 10, 15].find((m) => (this.now - start) / (m * MINUTE) <= width / 60) ?? 30;
    return [
      ...ticks(0, top, step).flatMap((v) => [
        drawn("line", { class: v ? "grid" : "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(v), y2: y(v) }),
        drawn("text", { x: MARGIN.left - 6, y: y(v) + 4, "text-anchor": "end" }, onAxis(v, step)),
      ]),
      drawn("text", { class: "unit", x: 2, y: 9 }, this.unit),
      ...ticks(start, this.now, minutes * MINUTE)
        .filter((t) => x(t) > MARGIN.left + 12 && x(t) < width - 14)
        .flatMap((t) => [
          drawn("line", { class: "axis", x1: x(t), x2: x(t), y1: y(0), y2: y(0) + 4 }),
          drawn("text", { x: x(t), y: HEIGHT - 4, "text-anchor": "middle" }, timeOf(t, false)),
        ]),
    ];
  }

  /** Names of several lines, at the right above the plot. */
  legend(width) {
    if (this.lines.length < 2 || this.pointer !== null) return [];
    let right = width - MARGIN.right;
    return [...this.lines].reverse().flatMap(([, kind, name]) => {
      const text = drawn("text", { x: right, y: 9, "text-anchor": "end" }, name);
      const end = right - name.length * 7 - 5;
      right = end - 30;
      return [text, drawn("line", { class: `line ${kind}`, x1: end - 16, x2: end, y1: 5, y2: 5 })];
    });
  }

  /** The figures below the pointer. */
  reading(times, start, width, x) {
    if (this.pointer === null || !times.length) return [];
    const near = times.reduce((best, t, i) => (Math.abs(x(t) - this.pointer) < Math.abs(x(times[best]) - this.pointer) ? i : best), 0);
    if (times[near] < start) return [];
    const figures = this.lines.map(([column, , name]) => `${name} ${short(this.history[column][near])}`);
    const at = x(times[near]);
    return [
      drawn("line", { class: "pointer", x1: at, x2: at, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      drawn("text", { class: "reading", x: width - MARGIN.right, y: 9, "text-anchor": "end" }, `${timeOf(times[near])}  ${figures.join(", ")}`),
    ];
  }

  inWords() {
    const last = this.lines.map(([column, , name]) => `${name} ${short(this.history[column].at(-1))}`);
    return `The last hour in ${this.unit}; now ${last.join(", ")}`;
  }
}

/** Line and area of one column, with gaps where nothing is known. */
function curve(times, values, kind, start, x, y, sampleS) {
  const runs = [];
  let before = -Infinity;
  times.forEach((t, i) => {
    if (t < start || values[i] === null) return;
    if (t - before > 3000 * sampleS || values[i - 1] === null) runs.push([]);
    runs.at(-1).push([x(t), y(values[i])]);
    before = t;
  });
  return runs.flatMap((run) => {
    const path = run.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L");
    if (run.length === 1) return [drawn("circle", { class: `dot ${kind}`, cx: run[0][0], cy: run[0][1], r: 2 })];
    const area = `M${path}L${run.at(-1)[0].toFixed(1)} ${y(0)}L${run[0][0].toFixed(1)} ${y(0)}Z`;
    return [drawn("path", { class: `area ${kind}`, d: area }), drawn("path", { class: `line ${kind}`, d: `M${path}` })];
  });
}
