// The table of all kernels: sorted, filtered, a hundred rows at a time; and the front's.

const several = model.runs.length > 1;
const COLUMNS = [
  { name: "Kernel", value: hashOf, show: (e) => kernelButton(hashOf(e)), left: true },
  several && { name: "Run", value: (e) => model.runs[e.run].name, show: (e) => runLabel(e.run), left: true },
  { name: "Number", value: (e) => e.at, show: (e) => grouped(e.at + 1) },
  { name: "Status", value: statusOf, show: statusOf, left: true },
  figureColumn("Reward", "reward", fixed),
  figureColumn("Speedup", "speedup", times),
  figureColumn("Quality", "quality", fixed),
  figureColumn("Latency (ms)", "latency", milliseconds),
  figureColumn("FLOPs", "flops", count),
  figureColumn("Parameters", "params", count),
  { name: "From", value: (e) => valueOf(e, "origin"), show: (e) => model.origins[valueOf(e, "origin")], left: true },
  { name: "Primitives", value: (e) => valueOf(e, "families").length, show: familiesOf, left: true },
].filter(Boolean);
const DESCENDING = ["Reward", "Speedup", "Quality"];

function figureColumn(name, column, show) {
  return { name, value: (e) => valueOf(e, column), show: (e) => show(valueOf(e, column)) };
}

function familiesOf(evaluation) {
  return valueOf(evaluation, "families").map((index) => model.families[index]).join(" ");
}

function runLabel(run) {
  return make("span", {}, make("i", { class: "swatch", style: `background:var(--series-${run % 8})` }), model.runs[run].name);
}

/** A table whose heads sort it. */
class KernelTable {
  constructor(place, rows, sorted, shown = Infinity) {
    Object.assign(this, { place, rows, shown, limit: shown });
    this.column = COLUMNS.findIndex((column) => column.name === sorted);
    this.descending = DESCENDING.includes(sorted);
    this.draw();
  }

  show(rows) {
    this.rows = rows;
    this.limit = this.shown;
    this.draw();
  }

  more(count) {
    this.limit += count;
    this.draw();
  }

  sort(index) {
    this.descending = index === this.column ? !this.descending : DESCENDING.includes(COLUMNS[index].name);
    this.column = index;
    this.draw();
    this.place.querySelectorAll("th button")[index].focus();
  }

  ordered() {
    const { value } = COLUMNS[this.column];
    const sign = this.descending ? -1 : 1;
    const keyed = this.rows.map((row) => [value(row), row]);
    keyed.sort(([a], [b]) => (missing(a) || missing(b) ? missing(a) - missing(b) : sign * (a < b ? -1 : a > b ? 1 : 0)));
    return keyed.map(([, row]) => row);
  }

  draw() {
    const left = COLUMNS.flatMap((column, index) => (column.left ? [index] : []));
    const head = COLUMNS.map((column, index) => make("button", { type: "button", click: () => this.sort(index) }, column.name));
    const rows = this.ordered().slice(0, this.limit).map((row) => ({ cells: COLUMNS.map((column) => column.show(row)) }));
    const drawn = table(head, rows, left);
    drawn.querySelectorAll("th")[this.column].setAttribute("aria-sort", this.descending ? "descending" : "ascending");
    this.place.replaceChildren(drawn);
  }
}

const filter = { text: "", status: "", run: "" };
const kernelTable = new KernelTable(byId("kernel-table"), evaluations, "Number", 25);

/** Rows whose hash begins with, or whose primitives contain, each word. */
function matching(evaluation) {
  if (filter.status && statusOf(evaluation) !== filter.status) return false;
  if (filter.run !== "" && evaluation.run !== Number(filter.run)) return false;
  if (!filter.text) return true;
  const families = familiesOf(evaluation).toLowerCase();
  return filter.text.split(/\s+/).every((word) => hashOf(evaluation).startsWith(word) || families.includes(word));
}

function refilter() {
  kernelTable.show(evaluations.filter(matching));
  describeTable();
}

function describeTable() {
  const shown = Math.min(kernelTable.limit, kernelTable.rows.length);
  byId("kernel-count").textContent = `${grouped(shown)} of ${grouped(kernelTable.rows.length)} kernels`;
  byId("kernel-more").parentElement.hidden = shown === kernelTable.rows.length;
}

function choice(label, name, options) {
  const select = make("select", { change: () => ((filter[name] = select.value), refilter()) });
  select.append(...options.map(([value, text]) => make("option", { value }, text)));
  return make("label", {}, label, select);
}

function buildControls() {
  const search = make("input", { type: "search", placeholder: "hash or primitives", size: "18" });
  search.addEventListener("input", () => ((filter.text = search.value.trim().toLowerCase()), refilter()));
  byId("kernel-controls").append(make("label", {}, "Search", search));
  const statuses = model.statuses.map((status) => [status, status]);
  byId("kernel-controls").append(choice("Status", "status", [["", "all"], ...statuses]));
  const runs = model.runs.map((run, index) => [String(index), run.name]);
  if (several) byId("kernel-controls").append(choice("Run", "run", [["", "all"], ...runs]));
}

byId("kernel-more").addEventListener("click", () => {
  kernelTable.more(100);
  describeTable();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-status]");
  if (!button) return;
  const select = byId("kernel-controls").querySelector("select");
  select.value = filter.status = button.dataset.status;
  refilter();
  byId("kernels").scrollIntoView();
});
buildControls();
describeTable();
