// Beside the picture: its caption, its boxes, and the labels to choose from.

import { byId, element, inkOn, keep, setAttributes, write } from "./elements.js";
import { described, fate } from "./wording.js";

const KEYED = 9; // labels that have a key
const MOST_LABELS = 60; // that are shown at once

export class Panel {
  constructor(session, act) {
    Object.assign(this, { session, act });
    byId("find").addEventListener("input", () => this.render());
    byId("find").addEventListener("keydown", (event) => {
      if (!["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      const [first] = this.#found();
      if (event.key === "Enter" && first) this.#choose(first);
      byId("find").value = "";
      act.focus();
      this.render();
    });
  }

  render() {
    const { picture } = this.session;
    if (!picture) return;
    this.#showCaption(picture.caption ?? "", picture.boxes);
    const boxes = this.session.boxes;
    byId("no-boxes").hidden = boxes.length > 0;
    keep(byId("list"), boxes, (box) => box.id, () => this.#makeRow(), (row, box) => this.#showRow(row, box));
    write(byId("labels-title"), this.session.box ? `Label of box ${this.session.box.number}` : "Label of the next box");
    const labels = this.#found().slice(0, MOST_LABELS);
    const make = (label) => this.#makeLabel(label);
    keep(byId("labels"), labels, (label) => label, make, (chip, label) => this.#showLabel(chip, label));
  }

  #colour(label) {
    return this.session.project.colours[label] ?? "#888888";
  }

  /** The labels that hold what was typed, best first; what is typed itself, where it is no label yet, last. */
  #found() {
    const { labels } = this.session.project;
    const typed = byId("find").value.trim().replace(/\s+/g, " ");
    const wanted = typed.toLowerCase();
    if (!wanted) return labels;
    const place = (label) => label.toLowerCase().indexOf(wanted);
    const rank = (label) => (label.toLowerCase() === wanted ? -1 : place(label));
    const found = labels.filter((label) => place(label) >= 0).sort((one, other) => rank(one) - rank(other));
    return found.some((label) => rank(label) === -1) ? found : [...found, typed];
  }

  #choose(label) {
    byId("find").value = "";
    this.act.choose(label);
  }

  // ---- boxes

  #makeRow() {
    const { session, act } = this;
    const id = () => session.boxes.find((each) => String(each.id) === row.dataset.key)?.id;
    const parts = [element("span", { class: "swatch" }), element("b"), element("span", { class: "fate" })];
    const name = element("button", { type: "button", class: "name" }, ...parts);
    name.addEventListener("click", () => session.select(id() ?? null));
    const accept = element("button", { type: "button", class: "icon accept" }, "✓");
    accept.addEventListener("click", () => act.accept(id()));
    const reject = element("button", { type: "button", class: "icon reject" }, "✕");
    reject.addEventListener("click", () => act.reject(id()));
    const row = element("li", {}, name, accept, reject);
    return row;
  }

  #showRow(row, box) {
    const [name, accept, reject] = row.children;
    const selected = box.id === this.session.selected;
    row.className = `${box.state}${selected ? " selected" : ""}${box.pending ? " pending" : ""}`;
    write(name.children[0], String(box.number));
    const background = this.#colour(box.label);
    Object.assign(name.children[0].style, { background, color: inkOn(background) });
    write(name.children[1], box.label);
    write(name.children[2], fate(box));
    const said = described(box);
    setAttributes(name, { "aria-label": said, "aria-current": selected ? "true" : null });
    setAttributes(accept, { "aria-label": `Accept: ${said}`, title: "Accept (a)" });
    setAttributes(reject, { "aria-label": `Reject: ${said}`, title: "Reject (x)" });
    const { editable } = this.session;
    accept.disabled = !editable || box.state === "accepted" || Boolean(box.pending);
    reject.disabled = !editable || box.state === "rejected" || Boolean(box.pending);
  }

  // ---- labels

  #makeLabel(label) {
    const parts = [element("span", { class: "swatch" }), element("span"), element("kbd")];
    const chip = element("button", { type: "button", class: "chip" }, ...parts);
    chip.addEventListener("click", () => this.#choose(label));
    return chip;
  }

  #showLabel(chip, label) {
    const { box, label: next } = this.session;
    const chosen = label === (box ? box.label : next);
    chip.setAttribute("aria-pressed", String(chosen));
    const place = this.session.project.labels.indexOf(label);
    chip.children[0].style.background = this.#colour(label);
    write(chip.children[1], place < 0 && label !== next ? `Add “${label}”` : label);
    const keyed = place >= 0 && place < KEYED;
    write(chip.children[2], keyed ? String(place + 1) : "");
    chip.children[2].hidden = !keyed;
  }

  // ---- caption

  /** The caption, with the words that name a box in the box's colour. */
  #showCaption(caption, boxes) {
    const labels = [...new Set(boxes.map((box) => box.label))].sort((one, other) => other.length - one.length);
    byId("caption-part").hidden = caption.trim() === "";
    const shown = JSON.stringify([caption, labels]);
    if (byId("caption").dataset.shown === shown) return;
    byId("caption").dataset.shown = shown;
    byId("caption").replaceChildren(...parts(caption, labels).map(([text, label]) => {
      if (label === null) return text;
      const word = element("span", { class: "word" }, text);
      word.style.background = this.#colour(label);
      word.style.color = inkOn(this.#colour(label));
      return word;
    }));
  }
}

/** A caption cut where labels stand in it as whole words: pairs of a text and its label or null. */
export function parts(caption, labels) {
  const cut = [];
  let rest = 0;
  const low = caption.toLowerCase();
  const inWord = (at) => at >= 0 && at < low.length && /[\p{L}\p{N}]/u.test(low[at]);
  for (let at = 0; at < caption.length; ) {
    const here = (label) => label && low.startsWith(label.toLowerCase(), at) && !inWord(at + label.length);
    const label = inWord(at - 1) ? null : labels.find(here);
    if (!label) {
      at += 1;
      continue;
    }
    if (at > rest) cut.push([caption.slice(rest, at), null]);
    cut.push([caption.slice(at, at + label.length), label]);
    rest = at += label.length;
  }
  return rest < caption.length ? [...cut, [caption.slice(rest), null]] : cut;
}
