"use strict";

// Text of names only ever becomes textContent: a name may hold whatever a file system allows.
const PALETTE = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb5566", "#004488", "#997700", "#777777"];
const PAGE = 120;
const element = (id) => document.getElementById(id);
const map = element("map");
// What is listed: rows, a similarity a row where they are the nearest of an image, and that image. Before it: the lists
// that it was come to from.
const NOTHING = { heading: "Select images on the map, or click on one", rows: [], similarities: [], image: "", name: "" };
let listed = NOTHING;
let before = [];
let asked = 0;
let data;

async function ask(path, body) {
  const sent = fetch(path, body === undefined ? {} : { method: "POST", body });
  const answer = await sent.catch(() => {
    throw new Error("The program that serves this page does not answer. Start it again");
  });
  if (answer.ok) return answer;
  throw new Error((await answer.json()).error);
}

const askJson = async (path, body) => (await ask(path, body)).json();

const fail = (error) => (element("heading").textContent = error.message);

// The last request counts: an earlier one may be answered later.
async function latest(heading, request, use) {
  const number = ++asked;
  element("heading").textContent = heading;
  try {
    const found = await request();
    if (number === asked) use(found);
  } catch (error) {
    if (number === asked) fail(error);
  }
}

function show(state) {
  listed = { ...state, shown: 0 };
  element("heading").textContent = listed.heading;
  element("large").hidden = !listed.image;
  element("large-image").src = listed.image;
  element("large-name").textContent = listed.name;
  element("list").replaceChildren();
  element("side").scrollTop = 0;
  element("save").disabled = element("clear").disabled = !listed.rows.length;
  element("back").disabled = !before.length;
  mark();
  more().catch(fail);
}

function list(changes) {
  if (listed.rows.length) before = [...before.slice(-99), listed];
  show({ ...NOTHING, ...changes });
}

function back() {
  asked++;
  show(before.pop());
}

async function more() {
  const from = listed, rows = from.rows.slice(from.shown, from.shown + PAGE), first = from.shown;
  from.shown += rows.length;
  element("more").hidden = from.shown >= from.rows.length;
  if (!rows.length) return;
  const tiles = await askJson("tiles", JSON.stringify({ rows }));
  if (from !== listed) return;
  tiles.forEach((tile, place) => element("list").append(item(tile, from.similarities[first + place])));
}

function item(tile, similarity) {
  const button = document.createElement("button"), image = document.createElement("img");
  Object.assign(image, { src: `thumbnail/${tile.row}`, alt: "", loading: "lazy" });
  image.addEventListener("error", () => (image.alt = "cannot be shown"));
  const lines = [tile.path, tile.class, similarity === undefined ? "" : similarity.toFixed(3)];
  button.append(image, lines.filter(Boolean).join(" · "));
  button.dataset.row = tile.row;
  button.addEventListener("click", () => nearRow(tile.row));
  const entry = document.createElement("li");
  entry.append(button);
  return entry;
}

function nearest(found, image, name) {
  const [rows, similarities] = [found.map((tile) => tile.row), found.map((tile) => tile.similarity)];
  list({ heading: `${found.length} nearest images`, rows, similarities, image, name });
}

function nearRow(row) {
  latest("Searching …", () => askJson("near_row", JSON.stringify({ rows: [row] })), (found) => {
    const own = found.find((tile) => tile.row === row);
    nearest(found, `image/${row}`, own ? [own.path, own.class].filter(Boolean).join(" · ") : `row ${row}`);
  });
}

function nearFile(file) {
  const heading = `Searching for ${file.name} … The first image takes seconds, while the network is read.`;
  const search = () => askJson("near_image", file);
  latest(heading, search, (found) => nearest(found, URL.createObjectURL(file), file.name));
}

function clear() {
  asked++;
  Plotly.restyle(map, { selectedpoints: [null] }, [0]);
  Plotly.relayout(map, { selections: [] });
  before = [];
  show(NOTHING);
}

async function save() {
  const { rows, similarities } = listed;
  const table = await (await ask("table", JSON.stringify({ rows, similarities }))).blob();
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(table), download: "images.csv" });
  link.click();
}

// ---- The map ----

function mark() {
  const points = listed.similarities.length ? listed.rows : [];
  if (!points.length && !map.data[1].x.length) return; // drawing 100,000 points again takes a second
  Plotly.restyle(map, { x: [points.map((row) => data.x[row])], y: [points.map((row) => data.y[row])] }, [1]);
}

function draw() {
  const style = getComputedStyle(document.documentElement), back = style.getPropertyValue("--back");
  // SVG is the way without WebGL, and slow above some thousand images.
  const type = document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter";
  const colour = data.classes.length ? data.class.map((number) => (number < 0 ? 9 : number % 9)) : style.getPropertyValue("--mark");
  const marker = { size: data.x.length > 20000 ? 3 : 6, opacity: 0.7, color: colour };
  if (data.classes.length) {
    const steps = PALETTE.flatMap((value, place) => [[place / 10, value], [(place + 1) / 10, value]]);
    Object.assign(marker, { colorscale: steps, cmin: -0.5, cmax: 9.5 });
  }
  const images = { type, mode: "markers", x: data.x, y: data.y, marker, hoverinfo: "none" };
  const found = { type: "scatter", mode: "markers", x: [], y: [], hoverinfo: "skip",
    marker: { size: 12, color: "rgba(0,0,0,0)", line: { width: 2, color: style.getPropertyValue("--text") } } };
  const axis = { visible: false, fixedrange: false };
  const layout = { dragmode: "lasso", hovermode: "closest", showlegend: false, paper_bgcolor: back, plot_bgcolor: back,
    margin: { l: 8, r: 8, t: 8, b: 8 }, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" } };
  const modeBarButtons = [["lasso2d", "select2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]];
  const config = { responsive: true, displaylogo: false, displayModeBar: true, scrollZoom: true, modeBarButtons };
  return Plotly.newPlot(map, [images, found], layout, config);
}

function listen() {
  map.on("plotly_selected", (event) => {
    if (!event?.points.length) return; // also when a selection is taken away
    const rows = event.points.filter((point) => point.curveNumber === 0).map((point) => point.pointIndex);
    asked++;
    list({ heading: `${rows.length.toLocaleString("en")} images selected`, rows });
  });
  map.on("plotly_deselect", clear);
  map.on("plotly_click", (event) => nearRow(event.points[0].pointIndex));
  map.on("plotly_hover", (event) => {
    const { clientX, clientY } = event.event;
    const hover = element("hover");
    Object.assign(hover, { src: `thumbnail/${event.points[0].pointIndex}`, hidden: false });
    hover.style.left = `${Math.min(clientX + 14, innerWidth - 140)}px`;
    hover.style.top = `${Math.min(clientY + 14, innerHeight - 140)}px`;
  });
  map.on("plotly_unhover", () => (element("hover").hidden = true));
}

// ---- Dropping an image, and the rest of the page ----

function acceptFiles() {
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    element("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) element("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    element("drop").hidden = true;
    if (event.dataTransfer.files.length) nearFile(event.dataTransfer.files[0]);
  });
  element("file").addEventListener("change", (event) => {
    if (event.target.files.length) nearFile(event.target.files[0]);
    event.target.value = "";
  });
}

async function start() {
  data = await askJson("map");
  element("title").textContent = `${data.x.length.toLocaleString("en")} images of ${data.folder}, laid out by ${data.method}`;
  document.title = `Images of ${data.folder}`;
  await draw();
  listen();
  acceptFiles();
  element("more").addEventListener("click", () => more().catch(fail));
  element("back").addEventListener("click", back);
  element("save").addEventListener("click", () => save().catch(fail));
  element("clear").addEventListener("click", clear);
  element("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = element("text").value;
    latest("Searching …", () => askJson("find", JSON.stringify({ text })), (rows) => {
      list({ heading: `${rows.length.toLocaleString("en")} images whose path or class has “${text}” in it`, rows });
    });
  });
  show(NOTHING);
}

start().catch(fail);
