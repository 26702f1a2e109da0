// How boxes and numbers are said.

export const sureness = (box) => `${Math.round(box.score * 100)} %`;

/** What became of a box, in a word or two. */
export function fate(box) {
  if (box.pending) return "not saved yet";
  if (box.state === "rejected") return "rejected";
  if (box.state === "open") return box.score === null ? "not decided" : `${sureness(box)} sure`;
  if (box.origin === "person") return "drawn";
  return box.moved || box.relabelled ? "corrected" : "accepted";
}

/** A box for a screen reader. */
export const described = (box) => `Box ${box.number}: ${box.label}, ${fate(box)}`;

export const counted = (number, word, many = `${word}s`) => `${number} ${number === 1 ? word : many}`;

/** What is said when a decision is saved. */
export const SAID = {
  accept: "Accepted.",
  reject: "Rejected.",
  move: "Moved.",
  draw: "Drawn.",
  relabel: "Label changed.",
  reopen: "Open again.",
};
