// Shows the picture as large as fits (times the zoom) and its boxes over it, in px of the screen.

import { imageAddress } from "./api.js";
import { newBox } from "./changes.js";
import { byId, element, inkOn, keep, setAttributes, svgElement, write } from "./elements.js";
import { HANDLES, areaOf } from "./geometry.js";
import { described, sureness } from "./wording.js";

const LARGEST_FIT = 4; // a tiny picture is not blown up further
const MOST_ZOOM = 8;
const ZOOM_STEP = 1.5;
const TAG_PX = 22;
const GRIP_PX = 26; // of a handle, for a finger
const KNOB_PX = 10;

export class Stage {
  preview = null; // {id, edges} while a box is dragged; id "new" while one is drawn
  zoom = 1;
  drawing = false;

  constructor(session) {
    this.session = session;
    this.stage = byId("stage");
    this.canvas = byId("canvas");
    this.handles = svgElement("g", { class: "handles", "aria-hidden": "true" });
    this.layer = svgElement("g");
    byId("boxes").append(this.layer, this.handles);
    new ResizeObserver(() => this.render()).observe(this.stage);
    addEventListener("resize", () => this.render());
    this.stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.layer.addEventListener("focusin", (event) => {
      const id = event.target.closest(".box")?.dataset.key;
      const box = this.boxes.find((each) => String(each.id) === id);
      if (box && box.id !== "new") session.select(box.id);
    });
  }

  /** The boxes that are drawn: all but the rejected ones, the dragged one where it is now. */
  get boxes() {
    const boxes = this.session.boxes.filter((box) => box.state !== "rejected");
    if (this.preview?.id === "new") {
      boxes.push(newBox(this.session.boxes.length + 1, this.session.label, this.preview.edges));
    }
    return boxes.map((box) => (box.id === this.preview?.id ? { ...box, ...this.preview.edges } : box));
  }

  /** Screen px for a px of the picture. */
  get scale() {
    const { width, height } = this.session.picture;
    const most = parseFloat(getComputedStyle(this.stage).maxHeight) || this.stage.clientHeight;
    return Math.min(this.stage.clientWidth / width, most / height, LARGEST_FIT) * this.zoom;
  }

  /** Where an event is, in px of the picture. */
  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - left) / this.scale, y: (event.clientY - top) / this.scale };
  }

  /** Boxes under an event, the smallest first. */
  under(event) {
    const { x, y } = this.at(event);
    const inside = this.boxes.filter((box) => box.x0 <= x && x <= box.x1 && box.y0 <= y && y <= box.y1);
    return inside.sort((one, other) => areaOf(one) - areaOf(other));
  }

  zoomBy(steps) {
    this.zoomTo(steps === 0 ? 1 : this.zoom * ZOOM_STEP ** steps);
  }

  /** Ctrl and the wheel, or two fingers on a touchpad. */
  #wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.zoomTo(this.zoom * ZOOM_STEP ** (-event.deltaY / 100));
  }

  /** Zoom about the selected box, or the middle of what is seen. */
  zoomTo(zoom) {
    const { stage, session } = this;
    if (!session.picture) return;
    const before = this.scale;
    const box = session.box;
    const x = box ? (box.x0 + box.x1) / 2 : (stage.scrollLeft + stage.clientWidth / 2) / before;
    const y = box ? (box.y0 + box.y1) / 2 : (stage.scrollTop + stage.clientHeight / 2) / before;
    this.zoom = Math.min(Math.max(zoom, 1), MOST_ZOOM);
    this.render();
    stage.scrollTo(x * this.scale - stage.clientWidth / 2, y * this.scale - stage.clientHeight / 2);
  }

  /** Move the focus to the selected box, so that keys and screen readers are where the eye is. */
  focus() {
    const chosen = [...this.layer.children].find((each) => each.dataset.key === String(this.session.selected));
    (chosen ?? this.stage).focus({ preventScroll: true });
  }

  render() {
    const { picture } = this.session;
    if (!picture) return;
    const scale = this.scale;
    const [width, height] = [picture.width * scale, picture.height * scale];
    setAttributes(byId("boxes"), { width, height, viewBox: `0 0 ${width} ${height}` });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    const photo = byId("photo");
    if (photo.getAttribute("src") !== imageAddress(picture.id)) {
      photo.src = imageAddress(picture.id);
      this.zoom = 1;
    }
    this.stage.classList.toggle("drawing", this.drawing);
    this.stage.setAttribute("aria-label", `Picture ${picture.name} with its boxes. Press question mark for the keys.`);
    const boxes = this.boxes;
    keep(this.layer, boxes, (box) => box.id, makeBox, (made, box) => this.#showBox(made, box, scale));
    const tag = () => element("span");
    keep(byId("tags"), boxes, (box) => box.id, tag, (made, box) => this.#showTag(made, box, scale, width));
    this.#showHandles(boxes.find((box) => box.id === this.session.selected), scale);
  }

  #showBox(made, box, scale) {
    const selected = box.id === this.session.selected;
    setAttributes(made, {
      class: `box ${box.state}${selected ? " selected" : ""}${box.pending ? " pending" : ""}`,
      "aria-label": described(box),
      "aria-current": selected ? "true" : null,
    });
    for (const each of made.children) setAttributes(each, rectangle(box, scale));
    made.style.color = this.session.project.colours[box.label] ?? "#888888";
  }

  #showTag(made, box, scale, width) {
    const colour = this.session.project.colours[box.label] ?? "#888888";
    const sure = box.state === "open" && box.score !== null ? ` ${sureness(box)}` : "";
    write(made, `${box.number} ${box.label}${sure}${box.state === "accepted" ? " ✓" : ""}`);
    made.className = `tag${box.id === this.session.selected ? " selected" : ""}`;
    const top = box.y0 * scale >= TAG_PX ? box.y0 * scale - TAG_PX : box.y0 * scale;
    const right = box.x0 * scale > width * 0.6;
    const [left, end] = right ? ["auto", `${width - box.x1 * scale}px`] : [`${box.x0 * scale}px`, "auto"];
    Object.assign(made.style, { background: colour, color: inkOn(colour), top: `${top}px`, left, right: end });
  }

  #showHandles(box, scale) {
    const shown = box && this.session.editable && box.id !== "new" && !this.drawing;
    keep(this.handles, shown ? ["grip", ...HANDLES] : [], (name) => name, makeHandle, (made, name) => {
      if (name === "grip") return setAttributes(made, rectangle(box, scale));
      const x = name.includes("w") ? box.x0 : name.includes("e") ? box.x1 : (box.x0 + box.x1) / 2;
      const y = name.includes("n") ? box.y0 : name.includes("s") ? box.y1 : (box.y0 + box.y1) / 2;
      const outwards = (GRIP_PX - KNOB_PX) / 2; // so that a small box keeps an inside to be taken by
      const dx = name.includes("w") ? -outwards : name.includes("e") ? outwards : 0;
      const dy = name.includes("n") ? -outwards : name.includes("s") ? outwards : 0;
      const [knob, reach] = made.children;
      setAttributes(knob, { x: x * scale - KNOB_PX / 2, y: y * scale - KNOB_PX / 2 });
      return setAttributes(reach, { x: x * scale + dx - GRIP_PX / 2, y: y * scale + dy - GRIP_PX / 2 });
    });
    if (shown) this.handles.style.color = this.session.project.colours[box.label] ?? "#888888";
  }
}

const rectangle = (box, scale) => ({
  x: box.x0 * scale,
  y: box.y0 * scale,
  width: Math.max(0, box.x1 - box.x0) * scale,
  height: Math.max(0, box.y1 - box.y0) * scale,
});

function makeBox() {
  const rectangles = ["halo", "edge"].map((name) => svgElement("rect", { class: name }));
  return svgElement("g", { tabindex: 0, role: "button" }, ...rectangles);
}

function makeHandle(name) {
  if (name === "grip") return svgElement("rect", { class: "grip" });
  const knob = svgElement("rect", { class: "knob", width: KNOB_PX, height: KNOB_PX, rx: 2 });
  const reach = svgElement("rect", { class: "reach", width: GRIP_PX, height: GRIP_PX });
  return svgElement("g", { class: `handle ${name}`, "data-handle": name }, knob, reach);
}
