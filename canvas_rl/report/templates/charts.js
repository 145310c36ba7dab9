// The charts, drawn by plotly.js, which is unpacked once the page is on the screen.

const AXES = {
  speedup: { label: "speedup", title: "speedup (log)", better: 1, log: true },
  quality: { label: "quality", title: "quality (validation)", better: 1 },
  test_accuracy: { label: "test accuracy", title: "test accuracy", better: 1 },
  reward: { label: "reward", title: "reward", better: 1 },
  latency: { label: "latency", title: "latency, sum of the places (s, log)", better: -1, log: true },
  flops: { label: "FLOPs", title: "FLOPs, sum of the places (log)", better: -1, log: true },
  params: { label: "parameters", title: "parameters, sum of the places (log)", better: -1, log: true },
};
const RATIOS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];
const series = (run) => colour(`--series-${run % 8}`);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const narrow = () => matchMedia("(max-width: 40rem)").matches;

/** WebGL draws ten thousand points at once; where there are few, or no WebGL, SVG does. */
const many = evaluations.length > 2000 && document.createElement("canvas").getContext("webgl");
const scatter = many ? "scattergl" : "scatter";

/** Of a run's measured kernels, those that no other of the run beats in both directions. */
function frontOf(points, x, y) {
  const goodness = (value, axis) => AXES[axis].better * value;
  const sorted = [...points].sort(
    (a, b) => goodness(b.x, x) - goodness(a.x, x) || goodness(b.y, y) - goodness(a.y, y),
  );
  let best = -Infinity;
  return sorted.filter((point) => {
    const taken = goodness(point.y, y) > best;
    if (taken) best = goodness(point.y, y);
    return taken;
  });
}

/** Measured kernels of a run with both figures; a logarithm has no place for zero. */
function pointsOf(run, x, y) {
  const fits = (value, axis) => !missing(value) && (!AXES[axis].log || value > 0);
  return evaluations
    .filter((evaluation) => evaluation.run === run && isOk(evaluation))
    .map((evaluation) => ({ evaluation, x: valueOf(evaluation, x), y: valueOf(evaluation, y) }))
    .filter((point) => fits(point.x, x) && fits(point.y, y));
}

const hover = (point) => {
  const { evaluation } = point;
  return `${hashOf(evaluation).slice(0, 8)}<br>${times(valueOf(evaluation, "speedup"))} at quality ${fixed(valueOf(evaluation, "quality"))}`;
};

function axis(name) {
  const { title, log } = AXES[name] ?? {};
  return {
    title: { text: title, standoff: 12 },
    type: log ? "log" : "linear",
    gridcolor: colour("--line"),
    linecolor: colour("--line"),
    zeroline: false,
    automargin: true,
    ...(name === "speedup" ? { tickvals: RATIOS, ticktext: RATIOS.map(times) } : {}),
    ...(log && name !== "speedup" ? { dtick: 1 } : {}),
  };
}

function layout(x, y, extra = {}) {
  const hoverlabel = { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--text") } };
  return {
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13, color: colour("--faint") },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    margin: narrow() ? { l: 44, r: 8, t: 8, b: 44 } : { l: 56, r: 16, t: 8, b: 52 },
    hovermode: "closest",
    hoverlabel,
    showlegend: true,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
    xaxis: x,
    yaxis: y,
    ...extra,
  };
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };

function frontTraces(run, x, y) {
  const { name } = model.runs[run];
  const points = pointsOf(run, x, y);
  const front = frontOf(points, x, y);
  const shared = (part) => ({
    x: part.map((point) => point.x),
    y: part.map((point) => point.y),
    text: part.map(hover),
    customdata: part.map((point) => hashOf(point.evaluation)),
    hovertemplate: "%{text}<extra></extra>",
    legendgroup: name,
  });
  const small = { size: points.length > 2000 ? 5 : 7, color: series(run), opacity: points.length > 500 ? 0.35 : 0.55 };
  const line = { color: series(run), width: 1.5, shape: "linear" };
  const large = { size: 10, color: series(run), line: { color: colour("--surface"), width: 1.5 } };
  return [
    { ...shared(points), type: scatter, mode: "markers", marker: small, name: several ? escaped(name) : "kernels" },
    { ...shared(front), type: "scatter", mode: "lines+markers", line, marker: large, name: several ? `${escaped(name)}, front` : "Pareto front" },
  ];
}

/** The convolution itself, a cross. */
function referenceTrace(run, x, y) {
  const reference = model.runs[run].reference;
  if (missing(reference?.[x]) || missing(reference?.[y])) return [];
  const marker = { symbol: "x", size: 10, color: several ? series(run) : colour("--text") };
  const name = several ? `${escaped(model.runs[run].name)}, convolution` : "convolution";
  const text = `${name}<br>${times(reference.speedup)} at quality ${fixed(reference.quality)}`;
  return [{ x: [reference[x]], y: [reference[y]], type: "scatter", mode: "markers", marker, name, text, hovertemplate: "%{text}<extra></extra>" }];
}

function drawFront() {
  const [x, y] = [byId("front-x").value, byId("front-y").value];
  const runs = model.runs.map((_, run) => run);
  const traces = runs.flatMap((run) => [...frontTraces(run, x, y), ...referenceTrace(run, x, y)]);
  return Plotly.react("front-chart", traces, layout(axis(x), axis(y)), CONFIG);
}

function listFront() {
  const [x, y] = [byId("front-x").value, byId("front-y").value];
  const rows = model.runs.flatMap((_, run) => frontOf(pointsOf(run, x, y), x, y).map((point) => point.evaluation));
  if (listFront.table) listFront.table.show(rows);
  else listFront.table = new KernelTable(byId("front-table"), rows, "Speedup");
}

const COURSES = {
  reward: { label: "best reward", title: "best reward so far", value: (columns, at) => rewardOfBest(columns, at) },
  hypervolume: { label: "hypervolume", title: "hypervolume of the Pareto front", value: (columns, at) => columns.hypervolume[at] },
};

function rewardOfBest(columns, at) {
  const best = columns.best[at];
  return missing(best) ? null : columns.reward[best];
}

/** A staircase: only where it changes, and at its end. */
function courseTrace(run, y, x) {
  const { columns, name, agent } = model.runs[run];
  const values = columns.kernel.map((_, at) => COURSES[y].value(columns, at));
  const hours = (columns.seconds.findLast((seconds) => !missing(seconds)) ?? 0) > 7200;
  const places = columns.kernel.map((_, at) => (x === "evaluations" ? at + 1 : columns.seconds[at]));
  let order = values.map((_, at) => at).filter((at) => !missing(values[at]) && !missing(places[at]));
  if (x === "time") order = rising(order, places, values);
  const kept = order.filter((at, index) => index === order.length - 1 || index === 0 || values[at] !== values[order[index - 1]]);
  const scale = x === "time" ? (hours ? 3600 : 60) : 1;
  return {
    trace: {
      x: kept.map((at) => places[at] / scale),
      y: kept.map((at) => values[at]),
      type: "scatter",
      mode: "lines",
      line: { shape: "hv", color: series(run), width: 2.2 },
      name: `${escaped(name)} (${agent})`,
      hovertemplate: `%{y:.3f} after %{x:.4g}<extra>${several ? escaped(name) : ""}</extra>`,
    },
    unit: x === "time" ? (hours ? "hours" : "minutes") : "evaluations",
  };
}

/** plotly reads some tags in texts. */
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** By time of storing; results of a batch are stored out of order. */
function rising(order, places, values) {
  let most = -Infinity;
  return [...order].sort((a, b) => places[a] - places[b]).filter((at) => {
    const taken = values[at] >= most;
    if (taken) most = values[at];
    return taken;
  });
}

function drawProgress() {
  const [y, x] = [byId("progress-y").value, byId("progress-x").value];
  const drawn = model.runs.map((_, run) => courseTrace(run, y, x));
  const across = { ...axis(), title: { text: drawn[0].unit, standoff: 12 }, rangemode: "tozero" };
  const up = { ...axis(), title: { text: COURSES[y].title, standoff: 12 }, rangemode: "tozero", exponentformat: "power" };
  return Plotly.react("progress-chart", drawn.map((item) => item.trace), layout(across, up, { showlegend: several }), CONFIG);
}

function fill(id, options, chosen, draw) {
  const select = byId(id);
  select.append(...options.map(([value, label]) => make("option", { value }, label)));
  select.value = chosen;
  select.addEventListener("change", draw);
}

/** Axes for which some kernel has a figure. */
function axesShown() {
  const has = (name) => evaluations.some((evaluation) => isOk(evaluation) && !missing(valueOf(evaluation, name)));
  return Object.entries(AXES).filter(([name]) => has(name)).map(([name, { label }]) => [name, label]);
}

/** As a file of its own, which browsers read beside what the page does; text within the page would make it wait. */
async function loadLibrary() {
  const address = URL.createObjectURL(new Blob([await unpack(byId("library"))], { type: "text/javascript" }));
  await new Promise((resolve, reject) => {
    document.head.append(make("script", { src: address, load: resolve, error: reject }));
  });
  URL.revokeObjectURL(address);
  byId("library").remove();
}

async function drawCharts() {
  await loadLibrary();
  for (const id of ["front-chart", "progress-chart"]) byId(id).replaceChildren();
  await drawFront();
  byId("front-chart").on("plotly_click", ({ points }) => points[0].customdata && openKernel(points[0].customdata));
  await drawProgress();
  document.addEventListener("themechange", () => (drawFront(), drawProgress()));
  document.documentElement.dataset.charts = "drawn";
}

if (byId("front-chart")) {
  const known = axesShown();
  const refront = () => (listFront(), globalThis.Plotly && drawFront());
  fill("front-x", known, "speedup", refront);
  fill("front-y", known, "quality", refront);
  fill("progress-y", Object.entries(COURSES).map(([name, { label }]) => [name, label]), "reward", () => drawProgress());
  fill("progress-x", [["evaluations", "evaluations"], ["time", "time"]], "evaluations", () => drawProgress());
  listFront();
  requestAnimationFrame(() => setTimeout(drawCharts)); // after the first paint
}
