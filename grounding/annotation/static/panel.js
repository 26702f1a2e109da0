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
      const [first] = this.#found();
      if (event.key === "Enter" && first) act.choose(first);
      if (["Enter", "Escape"].includes(event.key)) {
        event.preventDefault();
        byId("find").value = "";
        act.focus();
        this.render();
      }
    });
  }

  render() {
    const { picture, project } = this.session;
    if (!picture) return;
    this.#showCaption(picture.caption ?? "", picture.boxes);
    const boxes = this.session.boxes;
    byId("no-boxes").hidden = boxes.length > 0;
    keep(byId("list"), boxes, (box) => box.id, (box) => this.#makeRow(box), (row, box, place) => this.#showRow(row, box, place, boxes.length));
    byId("find-part").hidden = project.labels.length <= KEYED;
    write(byId("labels-title"), this.session.box ? `Label of box ${boxes.findIndex((box) => box.id === this.session.selected) + 1}` : "Label of the next box");
    keep(byId("labels"), this.#found().slice(0, MOST_LABELS), (label) => label, (label) => this.#makeLabel(label), (chip, label) => this.#showLabel(chip, label));
  }

  #colour(label) {
    return this.session.project.colours[label] ?? "#888888";
  }

  /** The labels that hold what was typed; the keys stay with their labels. */
  #found() {
    const wanted = byId("find").value.trim().toLowerCase();
    return this.session.project.labels.filter((label) => label.toLowerCase().includes(wanted));
  }

  // ---- boxes

  #makeRow(box) {
    const { session, act } = this;
    const id = () => session.boxes.find((each) => String(each.id) === row.dataset.key)?.id;
    const name = element("button", { type: "button", class: "name" }, element("span", { class: "swatch" }), element("b"), element("span", { class: "fate" }));
    name.addEventListener("click", () => session.select(id() ?? null));
    const accept = element("button", { type: "button", class: "icon accept" }, "✓");
    accept.addEventListener("click", () => act.accept(id()));
    const reject = element("button", { type: "button", class: "icon reject" }, "✕");
    reject.addEventListener("click", () => act.reject(id()));
    const row = element("li", {}, name, accept, reject);
    void box;
    return row;
  }

  #showRow(row, box, place, count) {
    const [name, accept, reject] = row.children;
    const selected = box.id === this.session.selected;
    row.className = `${box.state}${selected ? " selected" : ""}${box.pending ? " pending" : ""}`;
    row.style.setProperty("--sure", box.score ?? 0);
    name.children[0].style.background = this.#colour(box.label);
    write(name.children[1], box.label);
    write(name.children[2], fate(box));
    const said = described(box, place, count);
    setAttributes(name, { "aria-label": said, "aria-current": selected ? "true" : null });
    setAttributes(accept, { "aria-label": `Accept: ${said}`, title: "Accept (a)" });
    setAttributes(reject, { "aria-label": `Reject: ${said}`, title: "Reject (x)" });
    const { editable } = this.session;
    accept.disabled = !editable || box.state === "accepted" || Boolean(box.pending);
    reject.disabled = !editable || box.state === "rejected" || Boolean(box.pending);
  }

  // ---- labels

  #makeLabel(label) {
    const chip = element("button", { type: "button", class: "chip" }, element("span", { class: "swatch" }), element("span"));
    const place = this.session.project.labels.indexOf(label);
    if (place < KEYED) chip.append(element("kbd", {}, String(place + 1)));
    chip.addEventListener("click", () => this.act.choose(label));
    return chip;
  }

  #showLabel(chip, label) {
    const { box, label: next } = this.session;
    const chosen = label === (box ? box.label : next);
    chip.setAttribute("aria-pressed", String(chosen));
    chip.children[0].style.background = this.#colour(label);
    write(chip.children[1], label);
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
    const label = inWord(at - 1) ? null : labels.find((each) => each && low.startsWith(each.toLowerCase(), at) && !inWord(at + each.length));
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
