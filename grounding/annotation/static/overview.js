// The whole project: how far it is, its pictures, its numbers, its exports.

import { exportAddress } from "./api.js";
import { byId, element, keep, setAttributes, write } from "./elements.js";
import { counted } from "./wording.js";

const FORMATS = [
  ["coco", "COCO"],
  ["voc", "Pascal VOC"],
  ["yolo", "YOLO"],
  ["label-studio", "Label Studio"],
  ["cvat", "CVAT"],
  ["csv", "CSV"],
];
const AROUND = 50; // pictures that are listed before and after the present one
const SIGNS = { open: "○", done: "✓", skipped: "–" };

export class Overview {
  constructor(session) {
    this.session = session;
    const link = (format, name) => element("a", { href: exportAddress(format), download: true }, name);
    byId("exports").append(...FORMATS.map(([format, name]) => element("li", {}, link(format, name))));
    byId("pictures-part").addEventListener("toggle", () => this.render());
  }

  render() {
    const { pictures } = this.session.project;
    const done = pictures.filter((picture) => picture.state === "done").length;
    const skipped = pictures.filter((picture) => picture.state === "skipped").length;
    setAttributes(byId("bar"), { max: Math.max(1, pictures.length), value: done + skipped });
    write(byId("count"), `${done} of ${pictures.length} done${skipped ? `, ${skipped} skipped` : ""}`);
    this.#showReport();
    if (byId("pictures-part").open) this.#showPictures();
  }

  #showPictures() {
    const { pictures } = this.session.project;
    const present = pictures.findIndex((picture) => picture.id === this.session.picture?.id);
    const first = Math.max(0, present - AROUND);
    byId("pictures").start = first + 1;
    const shown = pictures.slice(first, first + 2 * AROUND);
    const make = (picture) => this.#makePicture(picture);
    keep(byId("pictures"), shown, (picture) => picture.id, make, (row, picture) => this.#showPicture(row, picture));
  }

  #showPicture(row, picture) {
    const [go] = row.children;
    const facts = `${counted(picture.boxes, "box", "boxes")}, ${Math.round(picture.uncertainty * 100)} % unsure`;
    [SIGNS[picture.state], picture.name, facts].forEach((text, place) => write(go.children[place], text));
    const current = String(picture.id === this.session.picture?.id);
    setAttributes(go, { "aria-current": current, "aria-label": `${picture.name}: ${picture.state}, ${facts}` });
  }

  #makePicture(picture) {
    const spans = ["", "name", "hint"].map((name) => element("span", { class: name }));
    const go = element("button", { type: "button" }, ...spans);
    go.addEventListener("click", () => void this.session.show(picture.id));
    return element("li", {}, go);
  }

  #showReport() {
    const make = ([name]) => element("div", {}, element("dt", {}, name), element("dd"));
    const show = (row, [, value]) => write(row.children[1], value);
    keep(byId("report"), lines(this.session.project.report), ([name]) => name, make, show);
  }
}

/** The numbers of the report, named; those that are not known yet are left out. */
function lines(report) {
  const share = (value) => `${Math.round(value * 100)} %`;
  const rows = [
    ["Drafts accepted untouched", report.untouched_share, share],
    ["Corrections a picture", report.corrections_per_picture, (value) => value.toFixed(1)],
    ["Seconds a box", report.seconds_per_box, (value) => value.toFixed(1)],
    ["Clicks and keys a box", report.actions_per_box, (value) => value.toFixed(1)],
    ["Boxes", report.boxes, String],
  ];
  return rows.filter(([, value]) => typeof value === "number").map(([name, value, said]) => [name, said(value)]);
}
