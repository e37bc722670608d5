// Draws how many runs are under way and how many wait, from what the page shows every two seconds.
const KEPT = 900;
const SHOWN_S = 600;
const points = [[], [], []];
const holder = document.getElementById("plot");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } });
const plot = new uPlot({
  width: holder.clientWidth,
  height: 180,
  scales: {
    x: { range: () => [Date.now() / 1000 - SHOWN_S, Date.now() / 1000] },
    y: { range: (_plot, _low, high) => [0, Math.max(4, high * 1.1)] },
  },
  axes: [axis(), axis()],
  series: [
    {},
    { label: "running", stroke: colour("--mark"), width: 2 },
    { label: "queued", stroke: colour("--warn"), width: 2 },
  ],
}, points, holder);

function take() {
  const { running, queued } = document.getElementById("figures").dataset;
  [Date.now() / 1000, Number(running), Number(queued)].forEach((value, place) => {
    points[place].push(value);
    if (points[place].length > KEPT) points[place].shift();
  });
  plot.setData(points);
}

take();
document.body.addEventListener("htmx:afterSwap", (event) => { if (event.target.id === "now") take(); });
addEventListener("resize", () => plot.setSize({ width: holder.clientWidth, height: 180 }));
