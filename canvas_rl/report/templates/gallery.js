// The gallery: an operator's dialog with a tab for each number of spatial dims.

const names = model.operators.map((operator) => operator.name);

async function openOperator(name) {
  const index = names.indexOf(name);
  if (index < 0) return;
  const { variants, needs } = await details(index);
  const operator = model.operators[index];
  const place = make("div");
  const show = (chosen) => place.replaceChildren(...variantParts(variants[chosen], needs, operator.title));
  show(0);
  showDialog(operator.title, `#operator=${name}`, [
    make("p", {}, operator.description),
    make("p", { class: "faint small" }, operator.reference),
    variants.length > 1 ? tabs(variants.map((variant) => variant.label), show) : null,
    place,
  ].filter(Boolean));
}

function tabs(labels, show) {
  const buttons = labels.map((label, index) =>
    make("button", { type: "button", "aria-pressed": String(index === 0), click: () => choose(index) }, label),
  );
  const choose = (chosen) => {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === chosen)));
    show(chosen);
  };
  return make("div", { class: "tabs", role: "group", "aria-label": "Spatial dims" }, ...buttons);
}

function variantParts(variant, needs, title) {
  const beside = (own, other) => `${count(own)} (${share(own / other)})`;
  const rows = variant.costs.map(([site, flops, theirFlops, params, theirParams]) => ({
    cells: [site, beside(flops, theirFlops), count(theirFlops), beside(params, theirParams), count(theirParams)],
  }));
  const head = ["Site", "FLOPs", "of a convolution", "Parameters", "of a convolution"];
  return [
    drawing(variant.svg, title),
    section("Cost beside a convolution with a window of 3", scrolling("Cost", table(head, rows))),
    section("PyTorch", code(variant.source, "Source of the operator")),
    program(variant.program),
    needs.length ? section("Needs", make("p", {}, `These options of the search: ${needs.join(", ")}.`)) : null,
  ].filter(Boolean);
}

for (const button of document.querySelectorAll("[data-operator]")) {
  button.addEventListener("click", () => openOperator(button.dataset.operator));
}

function openAddressed() {
  const found = /^#operator=(\w+)$/.exec(location.hash);
  if (found) openOperator(found[1]);
}

addEventListener("hashchange", openAddressed);
openAddressed();
