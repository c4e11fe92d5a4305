// What pages can do better than plain HTML. All of them work without it.
"use strict";

const language = document.documentElement.lang;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Times in the reader's zone, and in the page's language.
const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" });
const date = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric" });
const dateThisYear = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
const ago = new Intl.RelativeTimeFormat(language, { style: "short", numeric: "auto" });

function when(moment, now) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (seconds < MINUTE) return ago.format(0, "second");
  if (seconds < HOUR) return ago.format(-Math.floor(seconds / MINUTE), "minute");
  if (seconds < DAY) return ago.format(-Math.floor(seconds / HOUR), "hour");
  return (moment.getFullYear() === now.getFullYear() ? dateThisYear : date).format(moment);
}

function showTimes() {
  const now = new Date();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.title = full.format(moment);
    time.textContent = "day" in time.dataset ? date.format(moment) : when(moment, now);
  }
}

// How many characters are left, counted as the server does: an emoji is one, or the few it is made of.
function count(field) {
  const shown = field.form.querySelector(".count");
  const update = () => {
    const left = field.dataset.max - [...field.value.trim().normalize("NFC")].length;
    shown.hidden = false;
    shown.textContent = left;
    shown.setAttribute("aria-label", `${left} ${shown.dataset.label}`);
    shown.classList.toggle("count-over", left < 0);
    // Only near the end is it worth an interruption.
    shown.setAttribute("aria-live", left <= 20 ? "polite" : "off");
  };
  field.addEventListener("input", update);
  update();
}

// A translation below its post. What goes wrong with that goes the plain way: to a page of its own.
async function translate(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
      redirect: "error",
    });
    if (!answer.ok) throw new Error(answer.status);
    const { text, problem } = await answer.json();
    let place = form.querySelector("[role=status]");
    if (!place) {
      place = document.createElement("p");
      place.setAttribute("role", "status");
      place.dir = "auto";
      form.append(place);
    }
    place.textContent = problem ?? text;
    place.className = problem ? "problem" : "post-body translation";
    if (problem) button.disabled = false;
    else button.remove();
  } catch {
    form.submit();
  }
}

// A like, a repost or a bookmark, in place. What goes wrong with that goes the plain way.
async function react(event) {
  const button = event.target.closest("button[data-act]");
  if (!button || button.dataset.plain) return;
  event.preventDefault();
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(button.formAction, {
      method: "POST",
      body: new URLSearchParams(new FormData(button.form)),
      headers: { Accept: "application/json" },
      redirect: "error",
    });
    if (!answer.ok) throw new Error(answer.status);
    const said = await answer.json();
    const { act } = button.dataset;
    const done = said[{ like: "liked", repost: "reposted", bookmark: "bookmarked" }[act]];
    const path = new URL(button.formAction).pathname.replace(/[^/]+$/, "");
    // The same post may be on the page twice.
    for (const other of document.querySelectorAll(`button[data-act="${act}"]`)) {
      if (!new URL(other.formAction).pathname.startsWith(path)) continue;
      other.setAttribute("aria-pressed", String(done));
      other.setAttribute("formaction", `${path}${done ? "un" : ""}${act}`);
      const count = other.querySelector(".act-count");
      if (count) count.textContent = said[`${act}s`] || "";
    }
  } catch {
    button.dataset.plain = "yes";
    button.form.requestSubmit(button);
  } finally {
    button.setAttribute("aria-busy", "false");
  }
}

// A backup, sent in pieces. What the server has of it, it says itself: after an interruption that is where it goes on.
async function upload(event) {
  event.preventDefault();
  const form = event.target;
  const { piece, begin, send, done, failed } = form.dataset;
  const file = form.querySelector("[type=file]").files[0];
  const [bar, status, button] = ["progress", "[role=status]", "button"].map((name) => form.querySelector(name));
  const headers = { Accept: "application/json", "X-CSRFToken": form.elements.csrf_token.value };
  const post = async (path, body) => {
    const answer = await fetch(path, { method: "POST", body, headers, redirect: "error" });
    const said = await answer.json();
    if (said.confirm) {
      // The password is asked for on a page of its own, which leads back here.
      form.submit();
      await new Promise(() => {});
    }
    if (!answer.ok) throw new Error(said.error);
    return said;
  };
  button.disabled = true;
  bar.hidden = false;
  status.hidden = true;
  try {
    const mark = `${file.name.slice(-100)} ${file.lastModified}`;
    let { have } = await post(begin, new URLSearchParams({ size: file.size, mark }));
    while (have < file.size) {
      bar.value = have / file.size;
      const part = file.slice(have, have + Number(piece));
      ({ have } = await post(`${send}?offset=${have}`, new Blob([part], { type: "application/octet-stream" })));
    }
    location.assign(done);
  } catch (error) {
    status.textContent = error.message && error.name === "Error" ? error.message : failed;
    status.hidden = false;
    button.disabled = false;
  }
}

// A passkey, which the browser has a device make, or show. Bytes are letters in forms and in the page.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const letters = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

async function passkey(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const status = form.querySelector("[role=status]");
  const options = JSON.parse(form.dataset.options);
  const described = (list = []) => list.map((one) => ({ ...one, id: bytes(one.id) }));
  options.challenge = bytes(options.challenge);
  button.disabled = true;
  status.textContent = "";
  try {
    let said;
    if ("new" in form.dataset) {
      options.user.id = bytes(options.user.id);
      options.excludeCredentials = described(options.excludeCredentials);
      const { rawId, response } = await navigator.credentials.create({ publicKey: options });
      said = { id: rawId, client: response.clientDataJSON, attestation: response.attestationObject };
    } else {
      options.allowCredentials = described(options.allowCredentials);
      const { rawId, response } = await navigator.credentials.get({ publicKey: options });
      const { clientDataJSON: client, authenticatorData: data, signature } = response;
      said = { id: rawId, client, data, signature };
    }
    for (const name of Object.keys(said)) said[name] = letters(said[name]);
    form.elements.passkey.value = JSON.stringify(said);
    form.submit();
  } catch {
    // Its owner has changed their mind, or the device does not have it.
    status.textContent = status.dataset.failed;
    button.disabled = false;
  }
}

// How much is unread, asked for once a minute while the page is seen. What it shows is what it asks about.
const numbers = document.querySelectorAll(".top-number");
let asked = Date.now();

async function askUnread() {
  // A timer may come a little early.
  if (document.hidden || Date.now() - asked < MINUTE * 900) return;
  asked = Date.now();
  const shown = [...numbers].map((number) => number.textContent).join("-");
  try {
    const answer = await fetch(document.querySelector(".top-icons").dataset.unread, {
      headers: { "If-None-Match": `"${shown}"` },
      redirect: "error",
    });
    if (answer.status !== 200) return;
    const unread = await answer.json();
    numbers.forEach((number, place) => {
      number.textContent = unread[place];
    });
  } catch {
    // Logged out meanwhile, or no network: the next page, or the next minute, shows it.
  }
}

// Who somebody is, beside their name: while it is pointed at or has the focus; on a screen that is touched, at a
// touch of their picture. Without an answer there is nothing to show, and the link leads to the profile.
const cards = new Map();
let card = null;
let waiting = 0;

function closeCard() {
  clearTimeout(waiting);
  card?.remove();
  card = null;
}

async function openCard(link) {
  const path = new URL(link.href).pathname;
  const here = encodeURIComponent(location.pathname + location.search);
  if (!cards.has(path)) {
    cards.set(path, fetch(`${path}/card?next=${here}`, { redirect: "error" }).then((answer) => (answer.ok ? answer.text() : "")));
  }
  const text = await cards.get(path).catch(() => "");
  if (!text) {
    cards.delete(path);
    return;
  }
  if (!link.isConnected || !(link.matches(":hover, :focus") || link.dataset.touched)) return;
  closeCard();
  card = document.createElement("div");
  card.className = "person-card";
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", path.split("/").pop());
  // A part of a page of this site's own, whose texts are escaped.
  card.innerHTML = text;
  link.after(card);
  placeCard();
}

// Below its link, and as far to the right as there is room: also when there is less of it than there was.
function placeCard() {
  if (!card) return;
  const link = card.previousElementSibling;
  const [at, base] = [link, card.offsetParent].map((place) => place.getBoundingClientRect());
  const room = document.documentElement.clientWidth - card.offsetWidth - 8;
  card.style.left = `${Math.max(8, Math.min(at.left, room)) - base.left}px`;
  card.style.top = `${at.bottom + 4 - base.top}px`;
}

function personOf(target) {
  const link = target.closest?.('.post a[href^="/user/"]');
  return link && /^\/user\/\w+$/.test(new URL(link.href).pathname) && !link.closest(".person-card") ? link : null;
}

function pointAt(event) {
  const link = personOf(event.target);
  if (link && event.pointerType !== "touch") {
    clearTimeout(waiting);
    waiting = setTimeout(openCard, 400, link);
  } else if (!event.target.closest?.(".person-card")) {
    clearTimeout(waiting);
    if (card && !card.contains(document.activeElement)) waiting = setTimeout(closeCard, 300);
  } else {
    clearTimeout(waiting);
  }
}

addEventListener("resize", placeCard);
document.addEventListener("pointerover", pointAt);
document.addEventListener("focusin", (event) => {
  const link = personOf(event.target);
  if (link && link.matches(":focus-visible")) openCard(link);
  else if (card && !card.contains(event.target)) closeCard();
});
document.addEventListener("click", (event) => {
  const link = personOf(event.target);
  const touched = event.pointerType === "touch" && link?.querySelector(".avatar");
  if (touched && !link.dataset.touched) {
    event.preventDefault();
    link.dataset.touched = "yes";
    openCard(link);
  } else if (card && !card.contains(event.target)) {
    closeCard();
  }
});

// One menu is open at a time; Escape, and a click elsewhere, close it.
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu !== except) menu.open = false;
  }
}

document.addEventListener("click", react);
document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  closeCard();
  const open = document.activeElement.closest("details.menu[open]");
  closeMenus();
  open?.querySelector("summary").focus();
});
for (const field of document.querySelectorAll("textarea[data-max]")) count(field);
for (const form of document.querySelectorAll("form.translate")) form.addEventListener("submit", translate);
for (const form of document.querySelectorAll("form.upload")) form.addEventListener("submit", upload);
for (const form of document.querySelectorAll("form.passkey")) {
  form.addEventListener("submit", passkey);
  form.querySelector("button").disabled = !window.PublicKeyCredential;
}
showTimes();
setInterval(showTimes, MINUTE * 1000);
if (numbers.length) {
  setInterval(askUnread, MINUTE * 1000);
  document.addEventListener("visibilitychange", askUnread);
}
