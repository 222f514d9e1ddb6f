"use strict";
// What both pages share. Nothing from the data is ever read as HTML: all of it becomes text nodes and attributes.

const DATA = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const plural = (what) => (what.endsWith("y") ? `${what.slice(0, -1)}ies` : what.endsWith("ch") ? `${what}es` : `${what}s`);
const counted = (n, what) => `${n.toLocaleString("en")} ${n === 1 ? what : plural(what)}`;
const rounded = (x) => x.toFixed(2);
const EXTRA = 600; // pixels above and below the window in which rows are drawn
const PRINTED = 300; // rows of a printed page at most

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const mask = (row) => (DATA.pictures ? DATA.pictures[row] : 0);
const file = (row, ending = "") => `pictures/${String(row).padStart(6, "0")}${ending}.jpg`;

/** A picture of a tracklet, or an empty box where there is none; `which` is 0 for the middle frame. */
function picture(row, alt, which = 0) {
  const there = (mask(row) >> which) & 1;
  if (!there) return make("span", { class: "picture empty", role: "img", "aria-label": `${alt}: no picture` });
  const source = file(row, which ? `-${which}` : "");
  return make("img", { class: "picture", loading: "lazy", decoding: "async", alt, src: source });
}

/** A list of which only the rows near the window are in the page. `height(item)` in pixels, `draw(item)` an element. */
class Rows {
  constructor(box, height, draw) {
    Object.assign(this, { box, height, draw, items: [], tops: [0], drawn: new Map(), width: innerWidth, waiting: 0 });
    addEventListener("scroll", () => this.later(), { passive: true });
    addEventListener("resize", () => {
      if (this.width === innerWidth) this.later();
      else this.show(this.items);
      this.width = innerWidth;
    });
    addEventListener("beforeprint", () => this.print());
    addEventListener("afterprint", () => this.show(this.items));
  }

  show(items) {
    this.items = items;
    this.tops = [0];
    for (const item of items) this.tops.push(this.tops.at(-1) + this.height(item));
    this.box.replaceChildren();
    this.drawn.clear();
    this.box.style.height = `${this.tops.at(-1)}px`;
    this.update();
  }

  later() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.update();
    });
  }

  update() {
    const top = -this.box.getBoundingClientRect().top;
    const [first, last] = [this.at(top - EXTRA), this.at(top + innerHeight + EXTRA)];
    for (const [index, row] of this.drawn) {
      if ((index < first || index > last) && !row.contains(document.activeElement)) {
        row.remove();
        this.drawn.delete(index);
      }
    }
    for (let index = last, next = null; index >= first && this.items.length; index--) {
      next = this.drawn.get(index) ?? this.insert(index, next);
    }
  }

  insert(index, next) {
    const row = this.draw(this.items[index]);
    row.setAttribute("role", "listitem");
    row.setAttribute("aria-setsize", this.items.length);
    row.setAttribute("aria-posinset", index + 1);
    row.style.top = `${this.tops[index]}px`;
    row.style.height = `${this.tops[index + 1] - this.tops[index]}px`;
    this.drawn.set(index, row);
    return this.box.insertBefore(row, next);
  }

  /** The row at a height, within those that there are. */
  at(top) {
    let [low, high] = [0, this.items.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= top) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  print() {
    const [all, some] = [this.items.length, Math.min(PRINTED, this.items.length)];
    get("cut").textContent = some < all ? `Printed are the first ${some} of ${all.toLocaleString("en")} rows; search or filter for others.` : "";
    for (let index = some - 1, next = null; index >= 0; index--) {
      next = this.drawn.get(index) ?? this.insert(index, next);
    }
    for (const image of this.box.querySelectorAll("img")) image.loading = "eager";
  }
}

/** Words that all must be in an item's text. */
const words = () => get("find").value.toLowerCase().split(/\s+/).filter(Boolean);

/** Call `show` when a control changes, "/" goes to the search field, and "Show all" clears everything. */
function controls(ids, show) {
  const all = [get("find"), ...ids.map(get)];
  for (const control of all) control.addEventListener("input", () => (scrollTo(0, Math.min(scrollY, top())), show()));
  get("reset").addEventListener("click", () => {
    for (const control of all) control.value = control.tagName === "SELECT" ? control.options[0].value : "";
    show();
    get("find").focus();
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    get("find").focus();
  });
  function top() {
    return get("main").offsetTop - document.querySelector(".tools").offsetHeight;
  }
}
