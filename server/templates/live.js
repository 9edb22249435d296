// Live readings: when something came, shows the same page as it is now. Without this script the page can be loaded again.
"use strict";

const area = document.getElementById("live");
const state = document.getElementById("state");
const PAUSE = 300;
let isBusy = false;
let isDue = false;

async function renew() {
  isDue = true;
  if (isBusy) return;
  isBusy = true;
  while (isDue) {
    isDue = false;
    try {
      // Whoever fills in a form goes on undisturbed.
      while (area.querySelector("form:focus-within")) await pause();
      const answer = await fetch("/portal/live");
      if (!answer.ok || answer.redirected) return location.reload();
      show(new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live"));
    } catch {
      isDue = true;
    }
    await pause();
  }
  isBusy = false;
}

function show(now) {
  const open = [...area.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = document.activeElement?.id;
  area.replaceChildren(...now.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  area.dataset.renewed = String(Number(area.dataset.renewed ?? 0) + 1);
}

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE));

if (area) {
  const source = new EventSource("/portal/live/stream");
  source.onopen = () => { state.textContent = "Live: new readings appear by themselves."; renew(); };
  source.onerror = () => { state.textContent = "The connection is interrupted; trying again."; };
  for (const kind of ["Observation", "Flag", "Communication"]) source.addEventListener(kind, renew);
}
