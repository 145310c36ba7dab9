// Elements, figures in words, and packed data. Texts always become text nodes, never HTML.

const byId = (id) => document.getElementById(id);
const NOTHING = "–";

/** An element; attributes that are functions listen to the event of that name. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const missing = (value) => value === null || value === undefined;
const fixed = (value, digits = 3) => (missing(value) ? NOTHING : value.toFixed(digits));
const percent = (value) => (missing(value) ? NOTHING : `${(100 * value).toFixed(1)}%`);
const precise = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
const share = (value) => (missing(value) ? NOTHING : value < 2 ? percent(value) : times(value));
const times = (value) => (missing(value) ? NOTHING : `${precise(value)}×`);
const milliseconds = (value) => (missing(value) ? NOTHING : precise(value * 1e3));
const grouped = (value) => value.toLocaleString("en-GB");

/** 40600000 as 40.6M. */
function count(value) {
  if (missing(value)) return NOTHING;
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (Math.abs(value) < 999.5) return `${precise(value)}${unit}`;
    value /= 1000;
  }
  return `${precise(value)}P`;
}

function duration(seconds) {
  if (missing(seconds)) return NOTHING;
  if (Math.abs(seconds) < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const moment = (seconds) =>
  missing(seconds) ? NOTHING : `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** Text of a packed element: base64 of gzip. */
async function unpack(element) {
  const text = atob(element.textContent);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at); // `from` takes ten times as long
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** A table; the first row of cells is the head. Columns in `left` stand to the left. */
function table(head, rows, left = [0]) {
  const cell = (tag, extra) => (content, index) =>
    make(tag, { ...extra, class: left.includes(index) ? "left" : null }, content);
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...head.map(cell("th", { scope: "col" })))),
    make("tbody", {}, ...rows.map((row) => make("tr", { class: row.mark }, ...row.cells.map(cell("td"))))),
  );
}

const scrolling = (label, content) =>
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content);

/** A button that copies a text, and says so. */
function copyButton(text, label = "Copy") {
  const button = make("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text())) ? "Copied" : "Could not copy";
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** Browsers refuse the clipboard to some pages opened from files; selecting and copying works there. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

const model = JSON.parse(await unpack(byId("model")));

for (const button of document.querySelectorAll("[data-copy]")) {
  const text = button.nextElementSibling.textContent;
  button.replaceWith(copyButton(() => text));
}
