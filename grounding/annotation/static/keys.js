// The keys: one table, from which they work and from which the help is written.

import { element } from "./elements.js";
import { grown, moved, pulled } from "./geometry.js";

const FAR_PX = 10; // with Shift

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Rows of the help: what is pressed, what it does. */
export const HELP = [
  [["Tab", "Shift Tab"], "next box, box before"],
  [["a", "Enter"], "accept the box"],
  [["x", "Delete"], "reject the box"],
  [["← ↑ → ↓"], "move the box by 1 px, with Shift by 10"],
  [["Alt ← ↑ → ↓"], "move its right and lower edge, with Shift by 10"],
  [["[", "]"], "smaller, larger on all sides; { and } by 10"],
  [["1 … 9"], "label of the box, or of the next one where none is chosen"],
  [["l"], "find or add a label"],
  [["n"], "new box in the middle, to be moved"],
  [["u", "Ctrl z"], "take the last step back"],
  [["d"], "done: accept what is left, next picture"],
  [["s"], "skip this picture"],
  [["r"], "open a picture again that is done or skipped"],
  [[",", "."], "picture before, next picture; ← and → where no box is chosen"],
  [["+", "-", "0"], "larger, smaller, as it fits"],
  [["Esc"], "let go, choose no box"],
  [["?"], "these keys"],
];

export const helpRows = () =>
  HELP.map(([keys, text]) => {
    const pressed = keys.flatMap((key, place) => [place ? " or " : "", element("kbd", {}, key)]);
    return element("tr", {}, element("th", { scope: "row" }, ...pressed), element("td", {}, text));
  });

/** Let the keys of `commands` work on the page; see `main.js` for what each does. */
export function listen(page, session, commands) {
  page.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || page.querySelector("dialog[open]") || session.connection.gone) return;
    const target = event.target;
    if (target.closest("input, select, textarea")) return;
    if (["Enter", " "].includes(event.key) && target.closest("button, a, summary")) return;
    if (!chosen(event, session, commands)) return;
    event.preventDefault();
    const act = () => chosen(event, session, commands)?.();
    if (session.outbox.sending) void session.outbox.sending.then(act); // it may be about a box that is just being made
    else act();
  });
}

function chosen(event, session, commands) {
  if ((event.ctrlKey || event.metaKey) && !event.getModifierState("AltGraph")) {
    return event.key.toLowerCase() === "z" ? commands.undo : null;
  }
  const far = event.shiftKey ? FAR_PX : 1;
  if (event.key in ARROWS) return arrow(ARROWS[event.key], far, event.altKey, session, commands);
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit && !event.shiftKey && !event.altKey) return () => commands.label(Number(digit[1]) - 1);
  const resize = { "[": -1, "]": 1, "{": -FAR_PX, "}": FAR_PX }[event.key];
  if (resize) return () => adjust(session, (box) => grown(box, resize, session.picture));
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return event.altKey ? null : (simple(commands)[name] ?? null);
}

const simple = (commands) => ({
  a: commands.accept,
  Enter: commands.accept,
  x: commands.reject,
  Delete: commands.reject,
  Backspace: commands.reject,
  l: commands.find,
  n: commands.newBox,
  u: commands.undo,
  d: commands.done,
  s: commands.skip,
  r: commands.reopen,
  ",": commands.previous,
  ".": commands.next,
  "+": commands.zoomIn,
  "=": commands.zoomIn,
  "-": commands.zoomOut,
  0: commands.zoomFit,
  Escape: commands.letGo,
  "?": commands.help,
});

function arrow([across, down], far, edges, session, commands) {
  const { picture } = session;
  if (session.box && edges) return () => adjust(session, (box) => pulled(box, "se", across * far, down * far, picture));
  if (session.box) return () => adjust(session, (box) => moved(box, across * far, down * far, picture));
  if (edges || !across) return null;
  return across < 0 ? commands.previous : commands.next;
}

function adjust(session, change) {
  if (session.box) session.adjust(change(session.box));
}
