// Ask the service every two seconds while the page is seen, and say how it goes.

import { offerClasses, refreshAlerts, setUpAlerts } from "./alerts.js";
import { bars, byId, element, say, short, timeOf, whole, words } from "./elements.js";
import { LineChart } from "./linechart.js";

const EVERY_MS = 2000;
const QUIET_MS = 60_000;
const HEADLINES = { well: "All well", warning: "Look at this", bad: "Something is wrong" };

const charts = [
  new LineChart("rate-chart", "alerts/s", [["alerts_per_s", "first", "alerts"]]),
  new LineChart("lag-chart", "seconds", [["lag_s", "first", "lag"]]),
  new LineChart("latency-chart", "seconds", [["latency_95_s", "second", "95 %"], ["latency_median_s", "first", "median"]]),
];
let lost = null;
let timer = null;

async function poll() {
  clearTimeout(timer);
  try {
    const answer = await fetch("api/status", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    await refreshAlerts();
    lost = null;
  } catch {
    loseConnection();
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, EVERY_MS);
}

function loseConnection() {
  lost ??= Date.now();
  document.body.dataset.state = "lost";
  document.title = "lost – tinyt2";
  say("headline", "Connection lost");
  byId("problems").replaceChildren();
  say("summary", `since ${timeOf(lost)} UTC the service does not answer; asking again every ${EVERY_MS / 1000} s`);
}

function show(status) {
  const { history, tonight, lag, model } = status;
  document.body.dataset.state = status.state;
  document.title = `${status.state === "well" ? "" : "! "}tinyt2`;
  say("headline", HEADLINES[status.state]);
  byId("problems").replaceChildren(...status.problems.map((p) => element("li", { class: p.severity }, p.what)));
  say("summary", summary(status));
  say("version", status.tinyt2);
  say("clock", `${timeOf(status.now_ms)} UTC`);
  say("rate", short(history.alerts_per_s.at(-1)));
  say("lag", short(lag.seconds));
  say("lag-messages", lag.messages === null ? "–" : whole(lag.messages));
  say("latency", short(history.latency_median_s.findLast((s) => s !== null)));
  say("latency-95", short(history.latency_95_s.findLast((s) => s !== null)));
  for (const chart of charts) chart.show(history, status.now_ms);
  showTonight(tonight);
  say("model-name", `${model.name} ${model.version}`);
  say("model-sha", model.sha256.slice(0, 12));
  say("model-notice", model.notice);
  say("checks", Object.entries(status.checks).map(([name, holds]) => `${holds ? "✓" : "✗"} ${name}`).join("   "));
  showDrift(status.drift);
  offerClasses(model.classes);
}

function summary({ last_alert_ms, now_ms, tonight }) {
  if (last_alert_ms === null) return "no alert has come yet";
  const quiet = now_ms - last_alert_ms > QUIET_MS ? `quiet: the last alert came at ${timeOf(last_alert_ms)} UTC; ` : "";
  return `${quiet}${whole(tonight.alerts)} alerts since ${timeOf(tonight.since_ms, false)} UTC, ${whole(sum(tonight.dead_letters))} dead letters`;
}

function showTonight(tonight) {
  const rows = [
    ["classified", tonight.classified],
    ...ranked(tonight.not_classified).map(([name, n]) => [words(name), n, "without"]),
    ...ranked(tonight.dead_letters).map(([name, n]) => [`dead letter: ${words(name)}`, n, "dead"]),
  ];
  const total = tonight.alerts + sum(tonight.dead_letters);
  say("since", `since ${timeOf(tonight.since_ms, false)} UTC, of ${whole(total)}`);
  bars(byId("outcomes"), rows, { most: Math.max(...rows.map(([, n]) => n)), figure: whole });
  const classes = ranked(tonight.classes);
  const share = (n) => `${whole(n)} · ${((100 * n) / tonight.classified).toFixed(1)} %`;
  bars(byId("classes"), classes, { most: classes[0]?.[1], figure: share });
}

/** Population stability indices by feature, where somebody looks for drift. */
function showDrift(drift) {
  byId("drift").hidden = !drift;
  if (!drift) return;
  const known = Object.fromEntries(Object.entries(drift.psi).filter(([, psi]) => psi !== null));
  const rows = ranked(known).slice(0, 6).map(([name, psi]) => [words(name), psi, ""]);
  say("drift-note", rows.length ? `of ${whole(drift.alerts)} alerts tonight: compare it with other nights` : "too few alerts tonight to tell");
  bars(byId("drift-bars"), rows, { most: 0.5, figure: (psi) => psi.toFixed(2) });
}

const ranked = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1]);
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

setUpAlerts(() => refreshAlerts(true).catch(loseConnection));
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
poll();
