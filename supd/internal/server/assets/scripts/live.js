// Keeps the table of the status page up to date while the page is looked at.
// Without this script the page works all the same.
"use strict";
const live = document.getElementById("live");
const period = 3000; // ms

async function update() {
  if (document.hidden || live.contains(document.activeElement)) return;
  const address = new URL("index.html", location.href);
  const filter = new URLSearchParams(location.search).get("filter");
  if (filter) address.searchParams.set("filter", filter);
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  if (fresh && !live.contains(document.activeElement)) {
    live.replaceChildren(...fresh.childNodes);
    document.title = page.title;
  }
}

async function run() {
  try { await update(); } catch { /* the daemon is away; try again */ }
  setTimeout(run, period);
}
setTimeout(run, period);
