// One identity in full, in a dialog. Its number is in the address, so that "back" closes it and a link opens it.
const dialog = get("detail");
let closing = false; // by us, for an address without an identity
const numberIn = () => Number(/^#identity-(\d+)$/.exec(location.hash)?.[1] ?? 0);

function open(number) {
  if (numberIn() === number) return;
  history[numberIn() ? "replaceState" : "pushState"]({ opened: true }, "", `#identity-${number}`);
  sync();
}

function close() {
  if (history.state?.opened) history.back();
  else {
    history.replaceState(null, "", location.pathname + location.search);
    sync();
  }
}

function sync() {
  const person = numbered.get(numberIn());
  if (!person) {
    closing ||= dialog.open;
    return dialog.close();
  }
  dialog.replaceChildren(detail(person));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  get("detail-title").focus();
}

function step(by) {
  const index = current.findIndex((person) => person.number === numberIn());
  const next = index < 0 ? current[0] : current[index + by];
  if (next) open(next.number);
}

function detail(person) {
  const index = current.indexOf(person);
  const button = (label, sign, act, disabled) =>
    make("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: act, disabled }, sign);
  const span = person.lanes.length ? AXES[DATA.times](person.span) : "time unknown";
  const facts = [counted(person.rows.length, "tracklet"), counted(person.cameras.size, "camera"), DATA.times ? span : null];
  const labels = person.labels.length ? `labelled ${person.labels.join(", ")}` : null;
  return make(
    "div", { class: "detail" },
    make(
      "header", {},
      make(
        "div", {},
        make("h2", { id: "detail-title", tabindex: -1 }, `${person.title} `, badge(person.verdict, person.confidence)),
        make("p", {}, [...facts, labels, person.why].filter(Boolean).join(" · ")),
      ),
      make(
        "nav", { "aria-label": "Identities" },
        button("Previous identity (left arrow)", "‹", () => step(-1), index <= 0),
        button("Next identity (right arrow)", "›", () => step(1), index < 0 || index + 1 >= current.length),
        button("Close (Escape)", "×", close),
      ),
    ),
    DATA.times && person.lanes.length ? make("section", {}, make("h3", {}, "When"), whenOf(person)) : null,
    make("section", {}, make("h3", {}, "Tracklets"), make("div", { class: "tracklets" }, person.rows.map(tracklet))),
    person.other ? make("section", {}, make("h3", {}, "Most similar other identity"), compared(person)) : null,
  );
}

/** Time line of one identity: by clock over its own time, else over the whole video. */
function whenOf(person) {
  const own = DATA.times === "frames" ? [0, range[1]] : person.span;
  const unit = DATA.times === "frames" ? "frame " : "";
  const axis = make("p", { class: "axis", "aria-hidden": "true" }, own.map((t) => make("span", {}, `${unit}${moment(t)}`)));
  return make("div", { class: "when" }, timeline(person, own), axis);
}

function tracklet(row) {
  const t = TRACKLETS[row];
  const pictures = [...Array(31).keys()].filter((which) => which > 0 && (mask(row) >> which) & 1);
  const alt = (which) => `${t[ID]}, picture ${which}`;
  const frames = pictures.length ? pictures.map((which) => picture(row, alt(which), which)) : [picture(row, t[ID])];
  const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];
  return make(
    "article", { class: `tracklet ${VERDICTS[t[VERDICT]][0]}` },
    make("h4", {}, t[ID]),
    DATA.pictures ? make("div", { class: "frames" }, frames) : null,
    make(
      "dl", {},
      fact("camera", cameraOf(t)),
      DATA.times ? fact("when", when(t)) : null,
      t[PERSON] === null ? null : fact("label", t[PERSON]),
      t[SIMILARITY] === null ? null : fact("similarity", rounded(t[SIMILARITY]), " ", badge(t[VERDICT], t[CONFIDENCE])),
      fact("confidence", rounded(t[CONFIDENCE])),
      t[OTHER] ? fact(t[APART] ? "most similar" : "could also be", link(t[OTHER], `identity ${t[OTHER]}`), closeness(t)) : null,
    ),
    PARTS.has(row) ? parts(row, t) : null,
  );
}

const closeness = (t) => ` (${rounded(t[COSINE])})${t[APART] ? `, ${TOGETHER}` : ""}`;

function parts(row, t) {
  const alt = `Part attentions of ${t[ID]}: its frames, then a row of heat for each part`;
  const image = make("img", { loading: "lazy", alt, src: file(row, "-parts") });
  return make("figure", { class: "parts" }, image, make("figcaption", {}, "Where the network's parts look."));
}

function compared(person) {
  const other = numbered.get(person.other);
  const covers = (one) => one.rows.slice(0, 6).map((row) => picture(row, TRACKLETS[row][ID]));
  const side = (one, name) => make("figure", {}, make("div", { class: "covers" }, covers(one)), make("figcaption", {}, name));
  const there = link(other.number, `identity ${other.number}`);
  return make(
    "div", { class: "compared" },
    make(
      "p", {}, `Mean similarity ${rounded(person.cosine)}. If both are one person, fill in the same `,
      make("code", {}, "person"), " for their tracklets in ", make("code", {}, "identities.jsonl"),
      ", beside this page, and link again with ", make("code", {}, "--known identities.jsonl"), ".",
    ),
    DATA.pictures ? make("div", { class: "sides" }, side(person, `identity ${person.number}`), side(other, there)) : there,
  );
}

dialog.addEventListener("cancel", (event) => (event.preventDefault(), close()));
dialog.addEventListener("close", () => {
  if (!closing) close(); // a browser may close it whatever "cancel" says
  closing = false;
});
dialog.addEventListener("click", (event) => event.target === dialog && close());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
addEventListener("popstate", sync);
sync();
