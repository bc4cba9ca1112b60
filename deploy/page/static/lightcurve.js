// A light curve per band: flux with error bars, upper limits as arrows.

import { drawn, onAxis, stepOf, ticks } from "./elements.js";

const HEIGHT = 300;
const MARGIN = { left: 62, right: 14, top: 30, bottom: 40 };
const SIZE = 4.2;
const UNITS = [[1e6, "mJy"], [1e3, "µJy"], [1, "nJy"]];
// Shapes as in Rubin's RTN-045, so that no band is told by its colour alone.
const SHAPES = { u: polygon(12), g: polygon(3), r: polygon(3, 180), i: polygon(4, 45), z: star(), y: polygon(5) };

function polygon(n, turn = 0) {
  return points(n, turn, () => (n === 3 ? 1.25 : n === 4 ? 1.2 : 1.05));
}

function star() {
  return points(10, 0, (i) => (i % 2 ? 0.6 : 1.4));
}

function points(n, turn, radius) {
  const corners = Array.from({ length: n }, (_, i) => {
    const angle = ((360 * i) / n + turn - 90) * (Math.PI / 180);
    return `${(SIZE * radius(i) * Math.cos(angle)).toFixed(2)} ${(SIZE * radius(i) * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${corners.join("L")}Z`;
}

/** Return the light curve of an alert as an SVG of a width. */
export function lightCurve(curve, width) {
  const observations = curve.bands.flatMap((band) =>
    band.mjd.map((mjd, i) => ({
      band: band.band,
      name: `${band.survey} ${band.band}`,
      mjd,
      day: mjd - curve.trigger_mjd,
      flux: band.flux_njy[i],
      error: band.flux_err_njy[i],
      kind: band.kind[i],
    })),
  );
  const measured = observations.filter((o) => o.kind !== "limit");
  const peak = Math.max(...measured.map((o) => Math.abs(o.flux) + o.error), 1e-9);
  const [scale, unit] = UNITS.find(([size]) => peak >= size) ?? UNITS.at(-1);
  // Limits that are far above everything else would press it flat: they stay at the edge.
  const limits = observations.filter((o) => o.kind === "limit").map((o) => Math.min(o.flux, 1.5 * peak));
  const [low, high] = padded(
    Math.min(0, ...measured.map((o) => o.flux - o.error)) / scale,
    Math.max(...measured.map((o) => o.flux + o.error), ...limits, 0) / scale,
  );
  const [first, last] = padded(Math.min(...observations.map((o) => o.day), 0), Math.max(...observations.map((o) => o.day), 0), 2);
  const x = (day) => MARGIN.left + ((day - first) / (last - first)) * (width - MARGIN.left - MARGIN.right);
  const y = (flux) => HEIGHT - MARGIN.bottom - ((flux - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const within = (flux) => Math.max(low, Math.min(high, flux));
  return drawn(
    "svg",
    {
      class: "curve", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
      "aria-label": `Light curve: ${observations.length} observations in ${curve.bands.map((b) => `${b.survey} ${b.band}`).join(", ")}`,
    },
    ...axes([first, last], [low, high], x, y, width, unit),
    ...observations.map((o) => (o.kind === "limit" ? arrow(o, x(o.day), y(within(o.flux / scale)), scale, unit) : point(o, x(o.day), (f) => y(within(f / scale)), scale, unit))),
    ...legend(observations),
  );
}

function padded(low, high, least = 0) {
  const margin = Math.max(0.06 * (high - low), least / 2) || 1;
  return [low - margin, high + margin];
}

function axes([first, last], [low, high], x, y, width, unit) {
  const days = stepOf(last - first, Math.min(6, width / 70));
  const fluxes = stepOf(high - low, 5);
  return [
    ...ticks(low, high, fluxes).flatMap((f) => [
      drawn("line", { class: Math.abs(f) < fluxes / 2 ? "axis" : "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(f), y2: y(f) }),
      drawn("text", { x: MARGIN.left - 7, y: y(f) + 4, "text-anchor": "end" }, onAxis(f, fluxes)),
    ]),
    ...ticks(first, last, days).flatMap((d) => [
      drawn("line", { class: "axis", x1: x(d), x2: x(d), y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
      drawn("text", { x: x(d), y: HEIGHT - MARGIN.bottom + 17, "text-anchor": "middle" }, onAxis(d, days)),
    ]),
    drawn("line", { class: "trigger", x1: x(0), x2: x(0), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    drawn("text", { class: "unit", x: (MARGIN.left + width) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "days from the observation of this alert"),
    drawn("text", { class: "unit", transform: `translate(12 ${(HEIGHT - MARGIN.bottom + MARGIN.top) / 2}) rotate(-90)`, "text-anchor": "middle" }, `difference flux, ${unit}`),
  ];
}

function point(o, x, y, scale, unit) {
  return drawn(
    "g", { class: `band ${o.band} ${o.kind}` },
    drawn("line", { x1: x, x2: x, y1: y(o.flux - o.error), y2: y(o.flux + o.error) }),
    drawn("path", { d: SHAPES[o.band], transform: `translate(${x} ${y(o.flux)})` }),
    titled(o, `${(o.flux / scale).toPrecision(4)} ± ${(o.error / scale).toPrecision(2)} ${unit}`),
  );
}

function arrow(o, x, y, scale, unit) {
  return drawn(
    "g", { class: `band ${o.band} limit` },
    drawn("path", { d: `M${x - 4} ${y}h8M${x} ${y}v9m-3 -4l3 4l3 -4` }),
    titled(o, `below ${(o.flux / scale).toPrecision(3)} ${unit} (5 sigma)`),
  );
}

function titled(o, value) {
  return drawn("title", {}, `${o.name}, MJD ${o.mjd.toFixed(4)}: ${value}`);
}

function legend(observations) {
  let x = MARGIN.left;
  const entries = [...new Map(observations.map((o) => [o.name, o.band]))].map(([name, band]) => [name, band, SHAPES[band], "detection"]);
  if (observations.some((o) => o.kind === "forced")) entries.push(["not detected", "", SHAPES.u, "forced"]);
  if (observations.some((o) => o.kind === "limit")) entries.push(["upper limit", "", "M-4 -4h8M0 -4v9m-3 -4l3 4l3 -4", "limit"]);
  return entries.map(([name, band, d, kind]) => {
    const entry = drawn(
      "g", { class: `band ${band} ${kind}`, transform: `translate(${x + 5} 11)` },
      drawn("path", { d }),
      drawn("text", { x: 10, y: 4 }, name),
    );
    x += 26 + name.length * 6.6;
    return entry;
  });
}
