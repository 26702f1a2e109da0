// Boxes with what is not saved yet, and what a step back has changed.

import { edgesOf, same } from "./geometry.js";

/** Copies of boxes, numbered from 1, as they will be after these decisions; those that change are `pending`. */
export function withChanges(boxes, decisions) {
  const shown = boxes.map((box, place) => ({ ...box, number: place + 1 }));
  for (const decision of decisions) {
    const box = shown.find((each) => each.id === decision.box);
    if (decision.action === "draw") shown.push(newBox(shown.length + 1, decision.label, decision));
    else if (box) Object.assign(box, decision.action === "move" ? edgesOf(decision) : {}, { pending: true });
  }
  return shown;
}

/** A box that a person draws, before the server knows it. */
export const newBox = (number, label, edges) => ({
  id: "new",
  number,
  label,
  ...edgesOf(edges),
  score: null,
  origin: "person",
  state: "open",
  pending: true,
});

/** The first box of `after` that was another one in `before`, if it is still wanted. */
export function changedBox(before, after) {
  const old = new Map(before.map((box) => [box.id, box]));
  const differs = (box, was) => !same(box, was) || box.state !== was.state || box.label !== was.label;
  const box = after.find((each) => old.has(each.id) && differs(each, old.get(each.id)));
  return box && box.state !== "rejected" ? box : null;
}
