// A kernel of a run: what it does, how fast and good it is, and how it was found.

const numbers = new Map(model.kernels.map((hash, index) => [hash, index]));

/** Every evaluation of every run: { run, at }, `at` being its index in the run's columns. */
const evaluations = model.runs.flatMap((run, number) => run.columns.kernel.map((_, at) => ({ run: number, at })));

/** One value of an evaluation. */
const valueOf = ({ run, at }, name) => model.runs[run].columns[name][at];
const hashOf = (evaluation) => model.kernels[valueOf(evaluation, "kernel")];
const statusOf = (evaluation) => model.statuses[valueOf(evaluation, "status")];
const isOk = (evaluation) => statusOf(evaluation) === "ok";

const byKernel = new Map();
for (const evaluation of evaluations) {
  const kernel = valueOf(evaluation, "kernel");
  if (!byKernel.has(kernel)) byKernel.set(kernel, []);
  byKernel.get(kernel).push(evaluation);
}

/** A button that opens a kernel. */
function kernelButton(hash) {
  return make("button", { type: "button", class: "link mono", "data-kernel": hash }, hash.slice(0, 8));
}

async function openKernel(hash) {
  const index = numbers.get(hash);
  if (index === undefined) return;
  const found = await details(index);
  const own = byKernel.get(index);
  const first = own.find((evaluation) => evaluation.run in found.counts) ?? own[0];
  const row = found.rows[found.counts[first.run]];
  const title = make("span", {}, "Kernel ", make("span", { class: "mono" }, hash.slice(0, 8)));
  showDialog(title, `#kernel=${hash}`, [...kernelParts(found, own, first, row), identity(hash)]);
}

function kernelParts(found, own, first, row) {
  const parts = [];
  if (row && row.status === "ok") parts.push(keyFigures(first));
  else if (row) parts.push(make("p", { class: "notice" }, `${row.status}${row.message ? `: ${row.message}` : ""}`));
  else parts.push(make("p", { class: "notice" }, "The store has no measurement of this kernel for this run."));
  if (found.svg) parts.push(section("Graph", drawing(found.svg, `Graph of ${familiesOf(first)}`)));
  else parts.push(section("Graph", make("p", { class: "faint" }, found.unreadable ?? "Kernels that were skipped are not stored.")));
  if (row?.sites.length) parts.push(section("Place by place", placesTable(row)));
  parts.push(section("How it was found", make("ul", { class: "plain" }, ...own.map(story))));
  if (found.source) parts.push(section("PyTorch", code(found.source, "Source of the kernel")));
  if (found.program) parts.push(program(found.program));
  if (found.rows.length) parts.push(section("Measurements in the store", measurementsTable(found)));
  return parts.filter(Boolean);
}

function identity(hash) {
  return make("p", { class: "faint small", style: "margin-top:1.5rem" }, "Canonical hash: ", make("span", { class: "mono" }, hash));
}

function keyFigures(evaluation) {
  const reference = model.runs[evaluation.run].reference;
  const beside = (name, show) => (missing(reference?.[name]) ? null : `convolution ${show(reference[name])}`);
  const part = (name) => {
    const value = valueOf(evaluation, name);
    return reference?.[name] && !missing(value) ? `${share(value / reference[name])} of the convolution’s` : null;
  };
  const figure = (label, name, show, below) => [label, show(valueOf(evaluation, name)), below];
  return figures([
    figure("Speedup", "speedup", times, "mean of the places"),
    figure("Quality", "quality", fixed, beside("quality", fixed)),
    figure("Validation accuracy", "accuracy", percent, beside("accuracy", percent)),
    figure("Test accuracy", "test_accuracy", percent, beside("test_accuracy", percent)),
    figure("Reward", "reward", fixed, beside("reward", fixed)),
    figure("FLOPs", "flops", count, part("flops")),
    figure("Parameters", "params", count, part("params")),
  ].filter(([, value]) => value !== NOTHING));
}

function placesTable(row) {
  const rows = row.sites.map(([site, latency, reference, flops, params]) => ({
    cells: [
      site,
      milliseconds(latency),
      milliseconds(reference),
      times(latency && reference ? reference / latency : null),
      count(flops),
      count(params),
    ],
  }));
  const head = ["Place", "Latency (ms)", "Convolution (ms)", "Speedup", "FLOPs", "Parameters"];
  return scrolling("Place by place", table(head, rows));
}

/** How one run came to the kernel, in sentences. */
function story(evaluation) {
  const { run, at } = evaluation;
  const { name, agent, columns } = model.runs[run];
  const origin = model.origins[columns.origin[at]];
  const how = {
    agent: `proposed by the agent ${agent}`,
    "warm start": "a known operator of the warm start",
    store: `proposed by the agent ${agent} and found in the store, measured before`,
  }[origin];
  const parts = [make("b", {}, name), `: evaluation ${grouped(at + 1)} of ${grouped(columns.kernel.length)}, ${how}`];
  const seconds = columns.seconds[at];
  if (!missing(seconds)) parts.push(`, ${duration(seconds)} after the first measurement`);
  return make("li", {}, ...parts, ". ", ...standing(evaluation));
}

/** What the best kernel was when this one was evaluated. */
function standing({ run, at }) {
  const { columns } = model.runs[run];
  const reward = columns.reward[at];
  const before = at > 0 ? columns.best[at - 1] : null;
  if (columns.best[at] === at) {
    if (missing(before)) return [`The first that was measured: reward ${fixed(reward)}.`];
    return [`The best so far: reward ${fixed(reward)}, before it ${fixed(columns.reward[before])} by `, kernelOf(run, before), "."];
  }
  const earned = missing(reward) ? "" : `It earned ${fixed(reward)}. `;
  if (missing(before)) return [`${earned}No kernel had been measured before it.`];
  return [`${earned}The best then was `, kernelOf(run, before), ` with reward ${fixed(columns.reward[before])}.`];
}

const kernelOf = (run, at) => kernelButton(hashOf({ run, at }));

function measurementsTable(found) {
  const counting = new Set(Object.values(found.counts));
  const rows = found.rows.map((row, index) => ({
    mark: counting.has(index) ? "counts" : null,
    cells: [
      moment(row.made),
      row.device ?? NOTHING,
      make("span", { class: "mono" }, row.fingerprint ?? NOTHING),
      row.status,
      times(row.speedup),
      fixed(row.quality),
      percent(row.test_accuracy),
      missing(row.wall_time_s) ? NOTHING : `${precise(row.wall_time_s)} s`,
    ],
  }));
  const head = ["Stored", "Device", "Evaluated as", "Status", "Speedup", "Quality", "Test accuracy", "Took"];
  const said = "Shaded: what counts here. Figures compare where device and way of evaluating are the same.";
  return make("div", {}, make("p", { class: "faint small" }, said), scrolling("Measurements", table(head, rows, [0, 1, 2, 3])));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-kernel]");
  if (button) openKernel(button.dataset.kernel);
});

function openAddressed() {
  const found = /^#kernel=(\w+)$/.exec(location.hash);
  if (found) openKernel([...numbers.keys()].find((hash) => hash.startsWith(found[1])));
}

addEventListener("hashchange", openAddressed);
openAddressed();
