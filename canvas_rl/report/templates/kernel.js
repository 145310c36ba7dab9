// The dialog of a kernel (or of a known operator), its parts, and its address.

const dialog = byId("kernel");
const blocks = new Map();

/** The blocks stand at the end of the page, behind the scripts: they may not have arrived yet. */
const arrived = new Promise((resolve) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve);
  else resolve();
});

/** Details of kernel number `index`; a block is unpacked once. */
async function details(index) {
  await arrived;
  const block = Math.floor(index / model.block);
  if (!blocks.has(block)) blocks.set(block, unpack(byId(`block-${block}`)).then(JSON.parse));
  const columns = Object.entries(await blocks.get(block));
  return Object.fromEntries(columns.map(([name, values]) => [name, values[index % model.block]]));
}

/** Show a dialog; `address` is what stands behind # while it is open. */
function showDialog(title, address, body) {
  byId("kernel-title").replaceChildren(title);
  byId("kernel-body").replaceChildren(...body);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if (location.hash !== address) history.replaceState(null, "", address);
}

function closed() {
  history.replaceState(null, "", location.pathname + location.search);
  byId("kernel-body").replaceChildren();
}

dialog.addEventListener("close", closed);
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // the backdrop
});
byId("kernel-close").addEventListener("click", () => dialog.close());
byId("kernel-link").replaceWith(copyButton(() => location.href, "Copy link"));

const section = (heading, ...content) => make("section", {}, make("h3", {}, heading), ...content);

/** Pairs of a name and a text, and a small text below, as large figures. */
const figures = (pairs) =>
  make(
    "dl",
    { class: "figures" },
    ...pairs.map(([name, value, below]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value, below ? make("small", {}, below) : null)),
    ),
  );

/** The drawing. Only this package's own SVG, made from a verified graph, ever becomes markup. */
function drawing(svg, title) {
  const place = make("div", { class: "drawing", tabindex: "0", role: "region", "aria-label": "Graph of the kernel" });
  place.innerHTML = svg;
  place.firstChild.setAttribute("aria-label", title);
  return place;
}

function code(text, label, className = "copy") {
  return make("div", { class: className }, copyButton(() => text), make("pre", { tabindex: "0", "aria-label": label }, make("code", {}, text)));
}

const program = (actions) =>
  actions ? section("Program", make("p", { class: "faint small" }, "The actions that build it, in order."), code(actions, "Program", "copy command")) : null;
