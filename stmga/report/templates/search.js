// The page of a ranked search. An item is [tracklet, person, camera]; a match is [row of its item, similarity, verdict],
// and what a travel time adds to the similarity, if it does.
const [ID, PERSON, CAMERA] = [0, 1, 2];
const phone = matchMedia("(max-width: 760px)");
const named = (camera) => (camera === null ? "unknown camera" : /^\d+$/.test(camera) ? `camera ${camera}` : camera);
const textOf = ([id, person, camera]) => `${id}\n${person === null ? "" : `person ${person}`}\n${named(camera)}`;

const queries = DATA.queries.map((row, order) => {
  const found = DATA.matches[order];
  const text = [row, ...found.map(([match]) => match)].map((item) => textOf(DATA.items[item])).join("\n").toLowerCase();
  return { row, order, found, text, best: found[0]?.[1] ?? -1, gap: found.length > 1 ? found[0][1] - found[1][1] : 3 };
});

const badge = (verdict) => make("span", { class: `badge ${verdict}` }, verdict);

function drawMatch([row, similarity, verdict, travel], rank, asked) {
  const item = DATA.items[row];
  const known = item[PERSON] !== null && asked[PERSON] !== null;
  const right = known ? (item[PERSON] === asked[PERSON] ? "right person" : "another person") : null;
  const label = right ? `, ${right} by its label` : "";
  const value = similarity.toFixed(3) + (travel ? ` + ${travel.toFixed(3)}` : "");
  const title = `${rank + 1}. ${item[ID]}, ${named(item[CAMERA])}, similarity ${value}${label}`;
  return make(
    "li", { class: `match ${verdict ?? ""}`, title },
    DATA.pictures ? picture(row, title) : null,
    make("p", {}, make("strong", {}, value), " ", verdict ? badge(verdict) : null),
    make("p", {}, item[ID]),
    make("p", {}, named(item[CAMERA])),
    right && item[PERSON] === asked[PERSON] ? make("p", { class: "right" }, `✓ ${item[PERSON]}`) : null,
    right && item[PERSON] !== asked[PERSON] ? make("p", { class: "wrong" }, `✗ ${item[PERSON]}`) : null,
  );
}

function drawRow(query) {
  const item = DATA.items[query.row];
  const facts = make(
    "div", { class: "meta" },
    make("h2", { title: item[ID] }, item[ID]),
    make("p", {}, named(item[CAMERA])),
    item[PERSON] === null ? null : make("p", {}, `person ${item[PERSON]}`),
    make("p", {}, query.found.length ? counted(query.found.length, "match") : "no match"),
  );
  const drawn = query.found.map((match, rank) => drawMatch(match, rank, item));
  const matches = drawn.length
    ? make("ol", { class: "matches", tabindex: 0, "aria-label": `Matches of ${item[ID]}` }, drawn)
    : make("p", { class: "faint" }, "Nothing in the gallery is similar enough, or none may match.");
  const asked = make("div", { class: "asked" }, DATA.pictures ? picture(query.row, item[ID]) : null, facts);
  return make("div", { class: "row" }, make("article", { class: "card answer" }, asked, matches));
}

const LINES = DATA.items.some((item) => item[PERSON] !== null) ? 4 : 3;
function height() {
  const match = (DATA.pictures ? 136 : 0) + 17 * LINES + 14;
  return phone.matches ? match + (DATA.pictures ? 128 : 92) + 46 : Math.max(match + 24, 124) + 12;
}

const ORDERS = {
  order: (a, b) => a.order - b.order,
  best: (a, b) => b.best - a.best || a.order - b.order,
  worst: (a, b) => a.best - b.best || a.order - b.order,
  close: (a, b) => a.gap - b.gap || a.order - b.order,
};
const list = new Rows(get("rows"), height, drawRow);
function show() {
  const [sought, camera, kind] = [words(), get("camera").value, get("show")?.value];
  const verdict = (query) => query.found[0]?.[2] ?? "other";
  const current = queries
    .filter((query) => !camera || named(DATA.items[query.row][CAMERA]) === camera)
    .filter((query) => !kind || verdict(query) === kind)
    .filter((query) => sought.every((word) => query.text.includes(word)));
  current.sort(ORDERS[get("sort").value]);
  list.show(current);
  get("none").hidden = current.length > 0;
  const all = counted(queries.length, "query");
  get("count").textContent = current.length === queries.length ? all : `${current.length.toLocaleString("en")} of ${all}`;
}

const cameras = [...new Set(queries.map((query) => named(DATA.items[query.row][CAMERA])))];
cameras.sort(new Intl.Collator("en", { numeric: true }).compare);
for (const name of cameras) get("camera").append(make("option", { value: name }, name));
if (!DATA.verdicts) get("show").closest("label").remove();
get("lead").append(make("strong", {}, counted(queries.length, "query")), ` in ${counted(DATA.gallery, "tracklet")}.`);
controls(DATA.verdicts ? ["camera", "show", "sort"] : ["camera", "sort"], show);
show();
