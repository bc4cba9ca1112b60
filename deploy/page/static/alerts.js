// The table of the latest alerts and its filters.

import { byId, drawn, element, say, timeOf, words } from "./elements.js";
import { closeAlert, showAlert } from "./detail.js";

const rows = new Map();
let pointed = false;
let chosen = null;

const body = () => byId("alerts").tBodies[0];
const held = () => byId("hold").getAttribute("aria-pressed") === "true";

/** Set up filters and keys; changed is called when other alerts are wanted. */
export function setUpAlerts(changed) {
  for (const id of ["class", "outcome", "min-probability"]) byId(id).addEventListener("input", changed);
  byId("hold").addEventListener("click", () => {
    byId("hold").setAttribute("aria-pressed", String(!held()));
    changed();
  });
  // A list that moves away below the pointer cannot be clicked.
  body().addEventListener("pointerenter", () => (pointed = true));
  body().addEventListener("pointerleave", () => (pointed = false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      choose(null);
      closeAlert();
    }
  });
}

/** Offer the classes of the model. */
export function offerClasses(classes) {
  const select = byId("class");
  const offered = [...select.options].slice(1).map((option) => option.value);
  if (offered.join() === classes.join()) return;
  const before = select.value;
  select.replaceChildren(element("option", { value: "" }, "all"), ...classes.map((name) => element("option", { value: name }, name)));
  select.value = classes.includes(before) ? before : "";
}

/** Fetch the alerts that the filters want and show them; force: even while the list is held. */
export async function refreshAlerts(force = false) {
  if ((held() || pointed) && !force) return say("shown", held() ? "held" : "held below the pointer");
  const { rangeOverflow, rangeUnderflow, badInput } = byId("min-probability").validity;
  if (rangeOverflow || rangeUnderflow || badInput) return say("shown", "a probability is from 0 to 1");
  const wanted = new URLSearchParams();
  const values = { class: byId("class").value, outcome: byId("outcome").value, min_probability: byId("min-probability").value };
  for (const [name, value] of Object.entries(values)) if (value !== "") wanted.set(name, value);
  const answer = await fetch(`api/alerts?${wanted}`, { signal: AbortSignal.timeout(5000) });
  const found = await answer.json();
  if (!answer.ok) return say("shown", found.error);
  show(found.alerts);
  say("shown", found.alerts.length ? "" : "no such alert among those kept");
}

/** Put rows in and take rows out; those that stay are not touched, so focus stays too. */
function show(alerts) {
  const keys = new Set(alerts.map((alert) => alert.key));
  for (const [key, row] of rows) {
    if (keys.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  alerts.forEach((alert, i) => {
    if (!rows.has(alert.key)) rows.set(alert.key, newRow(alert));
    const row = rows.get(alert.key);
    if (body().rows[i] !== row) body().insertBefore(row, body().rows[i] ?? null);
  });
}

function newRow(alert) {
  const button = element("button", { type: "button", class: "object" }, alert.object_id);
  const row = element(
    "tr", alert.reason ? { class: "without" } : {},
    element("td", {}, timeOf(alert.publish_ms)),
    element("td", {}, alert.survey),
    element("td", {}, button),
    element("td", { class: "number" }, String(alert.n_observations)),
    element("td", {}, alert.class ?? words(alert.reason)),
    element("td", { class: "number" }, ...probability(alert.probability)),
  );
  row.addEventListener("click", () => {
    choose(row);
    showAlert(alert.key);
  });
  return row;
}

function probability(p) {
  if (p === null) return [];
  const bar = drawn("svg", { class: "bar", "aria-hidden": "true" }, drawn("rect", { width: `${100 * p}%`, height: "100%", rx: 2 }));
  return [bar, p.toFixed(2)];
}

function choose(row) {
  chosen?.removeAttribute("aria-current");
  chosen = row;
  chosen?.setAttribute("aria-current", "true");
}
