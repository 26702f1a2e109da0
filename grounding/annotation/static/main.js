// Puts the page together: one session, what shows it, and what acts on it.

import { Connection } from "./connection.js";
import { Effort } from "./effort.js";
import { byId, write } from "./elements.js";
import { middle } from "./geometry.js";
import { Gestures } from "./gestures.js";
import { helpRows, listen } from "./keys.js";
import { Overview } from "./overview.js";
import { Panel } from "./panel.js";
import { person } from "./person.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { counted } from "./wording.js";

const NEW_BOX = 1 / 3; // of each side
const STILL_THERE_MS = 45000; // so often the server hears that somebody is at the picture

const effort = new Effort();
effort.watch(document);
const connection = new Connection(() => render());
const session = new Session(person(), effort, connection, () => render(), say);
const stage = new Stage(session);
const gestures = new Gestures(session, stage, draws, () => draw(false));

const commands = {
  accept: () => act.accept(session.selected),
  reject: () => act.reject(session.selected),
  label: (place) => session.project.labels[place] !== undefined && act.choose(session.project.labels[place]),
  find: () => byId("find").focus(),
  newBox: () => draws() && session.decide("draw", { label: session.label, ...middle(NEW_BOX, session.picture) }),
  undo: () => session.undo(),
  done: () => session.finish("done"),
  skip: () => session.finish("skip"),
  reopen: () => session.decide("reopen"),
  previous: () => session.step(-1),
  next: () => session.step(1),
  zoomIn: () => stage.zoomBy(1),
  zoomOut: () => stage.zoomBy(-1),
  zoomFit: () => stage.zoomBy(0),
  letGo: () => gestures.stop() || (stage.drawing ? draw(false) : session.select(null)),
  help: () => byId("keys").showModal(),
};

const act = {
  accept: (box) => decideOn(box, "accept"),
  reject: (box) => decideOn(box, "reject"),
  /** A label for the chosen box, or for the next one. */
  choose: (label) => {
    session.label = label;
    if (session.box && session.box.label !== label) void session.decide("relabel", { box: session.selected, label });
    render();
  },
  focus: () => stage.focus(),
};

function decideOn(id, action) {
  const box = session.boxes.find((each) => each.id === id);
  if (box) void session.decide(action, { box: id });
  else say("No box is chosen: Tab goes to one.");
}

let focused = null; // the picture that had the focus last
let ended = false; // whether the end was shown

const panel = new Panel(session, act);
const overview = new Overview(session);

/** Whether there is a label to draw with; else the person is asked for one. */
function draws() {
  if (session.label !== null) return Boolean(session.picture);
  say("Which label? Type one first.");
  byId("find").focus();
  return false;
}

function draw(on) {
  stage.drawing = on;
  render();
}

/** Tell the person a line; a grave one looks so. */
function say(line, grave = false) {
  write(byId("line"), line);
  byId("line").classList.toggle("grave", grave);
}

function render() {
  const { picture } = session;
  byId("gone").hidden = !connection.gone;
  byId("main").inert = connection.gone;
  write(byId("unsaved"), session.unsaved ? `${counted(session.unsaved, "step")} not saved yet.` : "Nothing is lost.");
  write(byId("saved"), !session.unsaved ? "All saved" : connection.gone ? "Not saved" : "Saving …");
  byId("work").hidden = !picture;
  byId("panel").classList.toggle("ended", session.ended);
  byId("end").hidden = !session.ended;
  byId("work").setAttribute("aria-busy", String(session.turning));
  overview.render();
  if (session.ended) return showEnd();
  ended = false;
  if (!picture) return undefined;
  write(byId("name"), picture.name);
  document.title = `${picture.name} – Annotate`;
  write(byId("state"), picture.state === "open" ? "" : picture.state);
  byId("reopen").hidden = picture.state === "open";
  byId("draw").setAttribute("aria-pressed", String(stage.drawing));
  if (location.hash !== `#${picture.id}`) location.hash = picture.id;
  panel.render();
  stage.render();
  keepFocus(picture.id);
  return undefined;
}

/** A new picture begins at its first box, whatever button led there; later the focus follows the chosen box. */
function keepFocus(id) {
  const { activeElement } = document;
  const lost = activeElement === document.body;
  const left = byId("stage").contains(activeElement) && activeElement.dataset.key !== String(session.selected);
  if (focused !== id || lost || left) stage.focus();
  focused = id;
}

function showEnd() {
  if (!ended) byId("exports-part").open = true;
  ended = true;
  const open = session.project.pictures.filter((picture) => picture.state === "open").length;
  const title = open ? "The rest is in other hands" : "Every picture is done or skipped";
  const others = counted(open, "picture is", "pictures are");
  const rest = `${others} open at somebody else's page. Look again in a while.`;
  const saved = "What you decided is saved. You can look at the pictures again, or download the boxes.";
  write(byId("end-title"), session.project.pictures.length ? title : "There is no picture");
  write(byId("end-text"), open ? rest : saved);
  byId("look").hidden = open === 0;
  if (document.activeElement === document.body) byId("end-title").focus();
}

for (const name of ["previous", "next", "undo", "skip", "done", "reopen", "help"]) {
  byId(name).addEventListener("click", () => void commands[name]());
}
byId("zoom-in").addEventListener("click", commands.zoomIn);
byId("zoom-out").addEventListener("click", commands.zoomOut);
byId("zoom-fit").addEventListener("click", commands.zoomFit);
byId("retry").addEventListener("click", () => connection.retry());
byId("look").addEventListener("click", () => void session.next());
byId("draw").addEventListener("click", (event) => {
  if (event.detail === 0 && !stage.drawing) void commands.newBox(); // pressed by a key: nobody drags
  else draw(!stage.drawing);
});
byId("key-rows").append(...helpRows());
listen(document, session, commands);
addEventListener("hashchange", () => {
  const id = Number(location.hash.slice(1));
  if (location.hash && id !== session.picture?.id) void session.show(id);
});
addEventListener("pagehide", () => void session.settle({ keepalive: true }));
addEventListener("beforeunload", (event) => {
  if (session.unsaved && connection.gone) event.preventDefault();
});
setInterval(() => document.visibilityState === "visible" && void session.stillThere(), STILL_THERE_MS);
void session.start(location.hash ? Number(location.hash.slice(1)) : null);
