// The page of identities. A tracklet is an array; these are the places of its values.
const [ID, IDENTITY, CAMERA, PERSON, SIMILARITY, VERDICT, CONFIDENCE, OTHER, COSINE, APART, LANE, START, END] = Array(13).keys();
const VERDICTS = [["same", "same"], ["unsure", "unsure"], ["alone", "one tracklet"], ["joined", "joined"]];
const [SAME, UNSURE, ALONE] = [0, 1, 2];
const TRACKLETS = DATA.tracklets;
const PARTS = new Set(DATA.parts ?? []);
const LINES = 5; // of a time line in the list at most
const TOGETHER = "kept apart: seen at the same time by one camera";
const TOO_FAR = "no other identity that it may join reaches the threshold";
const phone = matchMedia("(max-width: 760px)");

const named = (camera) => (/^\d+$/.test(camera) ? `camera ${camera}` : camera);
const titled = (person) => (/^\d+$/.test(person) ? `Person ${person}` : person);
const cameraOf = (t) => (t[CAMERA] < 0 ? "unknown camera" : named(DATA.cameras[t[CAMERA]]));
const people = DATA.identities.map(([number, other, cosine, apart, known]) => ({ number, other, cosine, apart, known, rows: [] }));
const numbered = new Map(people.map((person) => [person.number, person]));
TRACKLETS.forEach((t, row) => numbered.get(t[IDENTITY]).rows.push(row));
const range = [Infinity, -Infinity];
for (const person of people) {
  const tracklets = person.rows.map((row) => TRACKLETS[row]);
  const timed = tracklets.filter((t) => t[LANE] >= 0);
  person.rows.sort((a, b) => TRACKLETS[a][START] - TRACKLETS[b][START] || a - b);
  person.cameras = new Set(tracklets.map((t) => t[CAMERA]));
  person.lanes = [...new Set(timed.map((t) => t[LANE]))].sort((a, b) => a - b);
  person.span = [Math.min(...timed.map((t) => t[START])), Math.max(...timed.map((t) => t[END]))];
  person.confidence = Math.min(...tracklets.map((t) => t[CONFIDENCE]));
  person.verdict = tracklets.some((t) => t[VERDICT] === UNSURE) ? UNSURE : tracklets[0][VERDICT];
  person.unsure = tracklets.filter((t) => t[VERDICT] === UNSURE).length;
  person.why = tracklets.length > 1 ? null : person.apart ? TOGETHER : TOO_FAR;
  person.labels = [...new Set(tracklets.map((t) => t[PERSON]).filter((label) => label !== null))];
  const name = person.known ?? (person.labels.length === 1 ? person.labels[0] : null);
  if (name !== null) person.labels = person.labels.filter((label) => label !== name);
  person.title = name === null ? `Identity ${person.number}` : `${titled(name)} (identity ${person.number})`;
  const text = tracklets.flatMap((t) => [t[ID], cameraOf(t), t[PERSON] === null ? "" : `person ${t[PERSON]}`]);
  person.text = [`identity ${person.number} `, person.title, ...text].join("\n").toLowerCase();
  range[0] = Math.min(range[0], person.span[0]);
  range[1] = Math.max(range[1], person.span[1]);
}

// ---- times

// In UTC, so that a page says the same to everybody. The date is in the heading, and in each time if there are several.
const date = (t) => new Date(t * 1000).toISOString().slice(0, 10);
const days = DATA.times === "clock" && Number.isFinite(range[0]) && date(range[0]) !== date(range[1]);
const clock = new Intl.DateTimeFormat("en-GB", {
  ...(days && { day: "numeric", month: "short" }), hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC",
});
function moment(t) {
  if (DATA.times === "clock") return clock.format(new Date(t * 1000));
  if (DATA.times === "frames") return Math.round(t).toLocaleString("en");
  const [minutes, seconds] = [Math.floor(t / 60), Math.floor(t % 60)];
  return `${minutes}:${String(seconds).padStart(2, "0")}`;
}
const period = ([start, end]) => (start === end ? moment(start) : `${moment(start)} – ${moment(end)}`);
const AXES = {
  clock: (range) => `${date(range[0])}, ${period(range)} UTC`,
  seconds: period,
  frames: (range) => `frames ${period(range)} of each video, not on one clock`,
};
const when = (t) => (t[LANE] < 0 ? "time unknown" : `${DATA.times === "frames" ? "frames " : ""}${period([t[START], t[END]])}`);

/** One line per camera (or video) with a bar for each tracklet. */
function timeline(person, [from, to], most = Infinity) {
  if (!person.lanes.length) return make("p", { class: "faint" }, "No times known.");
  const scale = (t) => (to > from ? (100 * (t - from)) / (to - from) : 0);
  const lines = person.lanes.slice(0, most).map((lane) => {
    const bars = person.rows.map((row) => TRACKLETS[row]).filter((t) => t[LANE] === lane);
    const track = make("span", { class: "track" });
    for (const t of bars) {
      const bar = make("span", { class: `bar ${VERDICTS[t[VERDICT]][0]}`, title: `${t[ID]}: ${when(t)}` });
      bar.style.left = `min(${scale(t[START])}%, 100% - 6px)`; // the least width of a bar
      bar.style.width = `${scale(t[END]) - scale(t[START])}%`;
      track.append(bar);
    }
    const name = named(DATA.lanes[lane]);
    const label = `${name}: ${bars.map(when).join(", ")}`;
    const shown = make("span", { class: "lane", title: name }, name);
    return make("div", { class: "line", role: "img", "aria-label": label }, shown, track);
  });
  const more = person.lanes.length - lines.length;
  const rest = more > 0 ? make("p", { class: "faint" }, `and ${counted(more, "line")} more`) : null;
  return make("div", { class: "timeline" }, lines, rest);
}

// ---- the list

const WEAK = 0.6; // a join of less confidence does not look certain
function badge(verdict, confidence) {
  const [kind, name] = VERDICTS[verdict];
  const weak = verdict !== UNSURE && verdict !== ALONE && confidence < WEAK;
  return make("span", { class: `badge ${weak ? "weak" : kind}` }, weak ? `${name}, weak` : name);
}
const meter = (x) => make("meter", { min: 0, max: 1, low: 0.5, value: x, "aria-label": `confidence ${rounded(x)}` });
const link = (number, text) =>
  make("button", { type: "button", class: "link", onclick: (event) => (event.stopPropagation(), open(number)) }, text);
const alternative = (person) =>
  person.other ? [link(person.other, `Closest: identity ${person.other}`), ` ${rounded(person.cosine)}`] : "No other identity";

const shown = (person) => Math.min(person.lanes.length, LINES) + (person.lanes.length > LINES ? 1 : 0);
function height(person) {
  const lines = 22 * Math.max(1, shown(person));
  const more = (person.labels.length ? 22 : 0) + (person.why ? (phone.matches ? 18 : 36) : 0) + (person.title.length > 12 ? 24 : 0);
  if (phone.matches) return (DATA.pictures ? 252 : 158) + more + (DATA.times ? lines : -8);
  return 16 + Math.max(136, 112 + more, lines + 24);
}

function strip(person) {
  const width = phone.matches ? innerWidth - 56 : Math.max(200, get("rows").clientWidth - (DATA.times ? 552 : 238));
  const fit = Math.max(1, Math.floor(width / (DATA.pictures ? 60 : 130)) * (DATA.pictures ? 1 : phone.matches ? 1 : 3));
  const some = person.rows.length > fit ? person.rows.slice(0, fit - 1) : person.rows;
  const cells = some.map((row) => {
    const t = TRACKLETS[row];
    const doubt = t[VERDICT] === UNSURE ? " unsure" : "";
    const title = `${t[ID]}, ${cameraOf(t)}, ${when(t)}`;
    if (!DATA.pictures) return make("span", { class: `chip${doubt}`, title }, t[ID]);
    const caption = make("figcaption", {}, cameraOf(t).replace(/^camera (?=\d+$)/, "cam "));
    return make("figure", { class: `cell${doubt}`, title }, picture(row, title), caption);
  });
  const more = person.rows.length - some.length;
  if (more) cells.push(make("span", { class: DATA.pictures ? "cell more" : "chip more" }, `+${more.toLocaleString("en")}`));
  return make("div", { class: DATA.pictures ? "strip" : "strip chips" }, cells);
}

function drawRow(person) {
  const facts = [counted(person.rows.length, "tracklet"), counted(person.cameras.size, "camera")];
  const opener = { type: "button", class: "title", "aria-haspopup": "dialog", title: person.title };
  const title = make("button", opener, person.title);
  const meta = make(
    "div", { class: "meta" },
    make("h2", {}, title, badge(person.verdict, person.confidence)),
    make("p", {}, facts.join(" · ")),
    make("p", { class: "sure" }, meter(person.confidence), ` confidence ${rounded(person.confidence)}`),
    make("p", {}, alternative(person)),
    person.why ? make("p", { class: "why" }, person.why) : null,
    person.labels.length ? make("p", { title: person.labels.join(", ") }, `Labelled ${person.labels.join(", ")}`) : null,
  );
  const kind = `card ${VERDICTS[person.verdict][0]}${DATA.times ? "" : " timeless"}`;
  const inside = make("article", { class: kind, onclick: () => open(person.number) }, meta, strip(person));
  if (DATA.times) inside.append(timeline(person, range, LINES));
  return make("div", { class: "row" }, inside);
}

const ORDERS = {
  unsure: (a, b) => rank(a) - rank(b) || a.confidence - b.confidence || a.number - b.number,
  number: (a, b) => a.number - b.number,
  first: (a, b) => a.span[0] - b.span[0] || a.number - b.number,
  tracklets: (a, b) => b.rows.length - a.rows.length || a.number - b.number,
  cameras: (a, b) => b.cameras.size - a.cameras.size || a.number - b.number,
  confidence: (a, b) => a.confidence - b.confidence || a.number - b.number,
  other: (a, b) => b.cosine - a.cosine || a.number - b.number,
};
const rank = (person) => (person.verdict === UNSURE ? 0 : person.verdict === ALONE ? 2 : 1);
const KINDS = {
  "": () => true,
  unsure: (person) => person.verdict === UNSURE,
  several: (person) => person.cameras.size > 1,
  alone: (person) => person.rows.length === 1,
};

const list = new Rows(get("rows"), height, drawRow);
let current = people;
function show() {
  const sought = words();
  const exact = /^#\d+$/.test(sought[0] ?? "") && sought.length === 1 ? Number(sought[0].slice(1)) : 0;
  const camera = get("camera").value;
  const match = (person) => (exact ? person.number === exact : sought.every((word) => person.text.includes(word)));
  const seen = (person) => camera === "" || person.cameras.has(Number(camera));
  current = people.filter((person) => KINDS[get("show").value](person) && seen(person) && match(person));
  current.sort(ORDERS[get("sort").value]);
  list.show(current);
  get("none").hidden = current.length > 0;
  const all = counted(people.length, "identity");
  get("count").textContent = current.length === people.length ? all : `${current.length.toLocaleString("en")} of ${all}`;
}

// ---- start

document.documentElement.style.setProperty("--lane", `${Math.max(0, ...DATA.lanes.map((name) => named(name).length)) + 1}ch`);
DATA.cameras.forEach((name, index) => get("camera").append(make("option", { value: index }, named(name))));
if (TRACKLETS.some((t) => t[CAMERA] < 0)) get("camera").append(make("option", { value: -1 }, "unknown camera"));
if (!DATA.times) get("sort").querySelector("[value=first]").remove();
const unsure = people.filter((person) => person.verdict === UNSURE).length;
if (!unsure) {
  get("sort").querySelector("[value=unsure]").remove();
  get("sort").prepend(get("sort").querySelector("[value=confidence]"));
  get("sort").value = "confidence";
}
const alone = people.filter((person) => person.rows.length === 1).length;
get("lead").append(
  make("strong", {}, counted(people.length, "identity")),
  ` in ${counted(TRACKLETS.length, "tracklet")} of ${counted(DATA.cameras.length, "camera")}. `,
  `${unsure ? counted(unsure, "identity") : "None"} with unsure joins, `,
  `${alone ? alone.toLocaleString("en") : "none"} with one tracklet.`,
  DATA.times && range[1] > range[0] ? ` Time lines: ${AXES[DATA.times](range)}.` : "",
);
controls(["camera", "show", "sort"], show);
show();
