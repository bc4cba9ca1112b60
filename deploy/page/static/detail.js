// One alert: light curve, probabilities, origin.

import { bars, byId, element, short, words } from "./elements.js";
import { lightCurve } from "./lightcurve.js";

let open = null;

const panel = () => byId("detail");

/** Fetch an alert and show it. */
export async function showAlert(key) {
  open = key;
  let answer, alert;
  try {
    answer = await fetch(`api/alerts/${encodeURIComponent(key)}`, { signal: AbortSignal.timeout(5000) });
    if (answer.ok) alert = await answer.json();
  } catch {
    if (open === key) tell("The service does not answer. Try again when the connection is back.");
    return;
  }
  if (open !== key) return;
  if (alert) return render(alert);
  tell(answer.status === 404 ? "This alert is no longer kept: newer ones took its place." : "The service failed to show this alert: see its log.");
}

export function closeAlert() {
  open = null;
  tell("Choose an alert to see its light curve, probabilities and origin.");
}

function tell(text) {
  panel().replaceChildren(element("p", { class: "empty" }, text));
}

function render(alert) {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", closeAlert);
  const best = alert.probabilities && Object.entries(alert.probabilities).sort((a, b) => b[1] - a[1]);
  const curve = element("div", { class: "curve-host" });
  const chart = element("table", { class: "bars" });
  panel().replaceChildren(
    element("div", { class: "toolbar" }, element("h2", {}, `${alert.survey} ${alert.object_id}`), close),
    element("p", { class: "answer" }, best ? `${best[0][0]}, probability ${best[0][1].toFixed(2)}` : `not classified: ${words(alert.reason)}`),
    curve,
    ...(best ? [chart] : []),
    origin(alert),
  );
  if (best) bars(chart, best.slice(0, 8), { most: 1, figure: (p) => p.toFixed(3) });
  const draw = () => curve.clientWidth > 100 && curve.replaceChildren(lightCurve(alert.light_curve, curve.clientWidth));
  new ResizeObserver(draw).observe(curve);
}

function origin(alert) {
  const ms = Date.parse(alert.publish_time) - Date.parse(alert.alert_time);
  const rows = [
    ["observed", `${utc(alert.observation_time)} (MJD ${alert.light_curve.trigger_mjd.toFixed(5)})`],
    ["answered", `${utc(alert.publish_time)}${Number.isFinite(ms) ? `, ${short(ms / 1000)} s after it came` : ""}`],
    ["observations", `${alert.n_observations} usable`],
    ["ids", `alert ${alert.alert_id}, source ${alert.source_id}${alert.duplicate ? ", came before" : ""}`],
    ["unlikeness", alert.ood_score === null ? "–" : `${alert.ood_score.toPrecision(3)} (higher = less like the training data)`],
    ["message", `${alert.topic}, partition ${alert.partition}, offset ${alert.offset}`],
    ["model", `${alert.model_name} ${alert.model_version}, sha256 ${alert.model_sha256.slice(0, 12)}`],
  ];
  return element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

const utc = (text) => (text ? `${text.slice(0, 10)} ${text.slice(11, 19)} UTC` : "unknown");
