// What is on the table: the picture as the server told it, what is selected, and what is not saved yet.
// Each decision is sent at once, one after another, and the server's answer is what is shown.

import { Gone, Refused, get, imageAddress, post } from "./api.js";
import { changedBox, withChanges } from "./changes.js";
import { NOTHING } from "./effort.js";
import { same } from "./geometry.js";
import { Outbox } from "./outbox.js";
import { SAID } from "./wording.js";

const QUIET_MS = 500; // keys that move a box are one decision when they rest for so long
const REPORT_MS = 400; // after a decision, the numbers of the margin
const PROJECT_MS = 10000; // what others have done

export class Session {
  project = { labels: [], colours: {}, pictures: [], report: {} };
  picture = null;
  selected = null; // id of a box
  label = null; // of the next box that is drawn
  ended = false;
  turning = true; // another picture is on its way
  #adjusted = null; // a box that keys move, before it is a decision
  outbox = new Outbox(
    (decision, options) => this.#deliver(decision, options),
    (decision, picture) => this.#answered(decision, picture),
    (decisions, error) => this.#refused(decisions, error),
  );
  #turns = Promise.resolve();
  #timers = {};
  #asked = 0; // when the project was

  /** `changed()` is called after every change, `say(line, grave)` for what the person should know. */
  constructor(person, effort, connection, changed, say) {
    Object.assign(this, { person, effort, connection, changed, say });
  }

  /** Boxes as they should be drawn: what is not saved yet is in its new place, and `pending`. */
  get boxes() {
    const { waiting } = this.outbox;
    return withChanges(this.picture?.boxes ?? [], this.#adjusted ? [...waiting, this.#adjusted] : waiting);
  }

  get box() {
    return this.boxes.find((box) => box.id === this.selected) ?? null;
  }

  get open() {
    return this.picture?.boxes.filter((box) => box.state === "open") ?? [];
  }

  get unsaved() {
    return this.outbox.waiting.length + (this.#adjusted ? 1 : 0);
  }

  get editable() {
    return Boolean(this.picture) && !this.turning && !this.connection.gone;
  }

  // ---- pictures

  /** Read the project and show a picture: this one if it is one, else the first that is open to this person. */
  async start(id) {
    await this.refresh();
    this.label = this.project.labels[0] ?? null;
    if (this.project.pictures.some((picture) => picture.id === id)) await this.show(id);
    else await this.next();
  }

  async refresh() {
    this.#asked = performance.now();
    this.project = await this.connection.reach(() => get("/api/project"));
    this.changed();
  }

  /** Show the next picture that is open and that nobody else is at, or the end. */
  async next() {
    await this.#turn(async () => {
      const { id } = await this.connection.reach(() => get("/api/next", { person: this.person }));
      if (id !== null) return this.#load(id);
      this.picture = this.selected = null;
      this.ended = true;
      return this.refresh();
    });
  }

  async show(id) {
    await this.#turn(() => this.#load(id));
  }

  /** The picture so many places further in working order. */
  async step(by) {
    const pictures = this.project.pictures;
    const at = pictures.findIndex((picture) => picture.id === this.picture?.id);
    const wanted = pictures[this.picture ? at + by : pictures.length - 1];
    if (wanted) await this.show(wanted.id);
    else this.say(by < 0 ? "This is the first picture." : "This is the last picture.");
  }

  /** One after another: the last picture that was asked for stays. */
  #turn(work) {
    const turn = this.#turns.then(() => this.#turnNow(work));
    this.#turns = turn.catch(() => {});
    return turn;
  }

  async #turnNow(work) {
    this.turning = true;
    this.changed();
    try {
      await this.settle();
      await work();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.message, true);
    } finally {
      this.turning = false;
      this.changed();
    }
  }

  #read(id) {
    return this.connection.reach(() => get(`/api/pictures/${id}`, { person: this.person }));
  }

  async #load(id) {
    const picture = await this.#read(id);
    this.say("");
    const image = new Image();
    image.src = imageAddress(id);
    await image.decode().catch(() => this.say("This picture cannot be shown.", true));
    this.#take(picture);
    this.selected = this.open[0]?.id ?? null;
    this.ended = false;
    this.effort.reset();
    const places = this.project.pictures;
    const after = places.slice(places.findIndex((each) => each.id === id) + 1).find((each) => each.state === "open");
    if (after) new Image().src = imageAddress(after.id); // it is there when it is wanted
  }

  #take(picture) {
    this.picture = picture;
    const place = this.project.pictures.find((each) => each.id === picture.id);
    const boxes = picture.boxes.filter((box) => box.state !== "rejected").length;
    if (place) Object.assign(place, { state: picture.state, boxes });
    if (picture.boxes.some((box) => !(box.label in this.project.colours))) this.#asked = -PROJECT_MS; // a label is new
    if (!picture.boxes.some((box) => box.id === this.selected && box.state !== "rejected")) this.selected = null;
    clearTimeout(this.#timers.report);
    this.#timers.report = setTimeout(() => this.#look(), REPORT_MS);
  }

  /** The numbers of the margin, and now and then what others did. The next decision says whether the server is gone. */
  async #look() {
    try {
      if (performance.now() - this.#asked > PROJECT_MS) return await this.refresh();
      this.project.report = await get("/api/report");
    } catch {
      return;
    }
    this.changed();
  }

  /** Tell the server that somebody is at this picture, and see whether somebody else has changed it. */
  async stillThere() {
    if (!this.editable || this.unsaved) return;
    const { id, version } = this.picture;
    const now = await this.#read(id);
    if (this.picture?.id !== id || this.picture.version !== version || now.version === version) return;
    this.#take(now);
    this.say("Somebody else changed this picture.", true);
    this.changed();
  }

  // ---- decisions

  select(id) {
    if (id === this.selected) return;
    void this.settle();
    this.selected = id;
    this.changed();
  }

  /** Move the selected box on the page; it is a decision when the keys rest, or something else is done. */
  adjust(edges) {
    const box = this.box;
    if (!box || same(box, edges) || !this.editable) return;
    this.effort.giveBack(this.#adjusted?.effort ?? NOTHING);
    this.#adjusted = { action: "move", box: box.id, ...edges, effort: this.effort.take() };
    clearTimeout(this.#timers.quiet);
    this.#timers.quiet = setTimeout(() => this.settle(), QUIET_MS);
    this.changed();
  }

  /** Send what keys have moved, and wait until all is saved. */
  async settle(options = {}) {
    clearTimeout(this.#timers.quiet);
    const adjusted = this.#adjusted;
    this.#adjusted = null;
    if (adjusted) this.#enqueue(adjusted);
    await this.outbox.send(options);
  }

  /** Make a decision; the promise holds when the server has answered. False where it was not saved. */
  async decide(action, details = {}) {
    if (!this.editable) return false;
    void this.settle();
    const decision = this.#enqueue({ action, ...details });
    await this.outbox.send();
    return decision.saved === true;
  }

  /** Done or skip: decide, and go to the next picture. What is done and unchanged needs no decision. */
  async finish(action) {
    if (!this.editable) return;
    const changed = this.picture.state !== "done" || this.open.length > 0 || this.unsaved > 0;
    const decided = action === "done" && !changed ? true : this.decide(action);
    this.turning = true; // what is pressed now is not meant for a picture that nobody has seen
    if (await decided) return this.next();
    this.turning = false;
    return this.changed();
  }

  async undo() {
    if (this.turning || this.connection.gone) return;
    if (this.#adjusted) {
      clearTimeout(this.#timers.quiet);
      this.effort.giveBack(this.#adjusted.effort);
      this.#adjusted = null;
      this.say("The box is back where it was.");
      this.changed();
      return;
    }
    await this.#turn(async () => {
      const work = this.effort.take();
      const answer = await post("/api/undo", { person: this.person, ...work }).catch(goneIsNull);
      if (answer === null) return this.#lookAgain(); // asked twice, it might take two steps back
      const { picture } = answer;
      if (!picture) return this.say("There is nothing to take back.");
      if (this.picture?.id !== picture.id) await this.#load(picture.id);
      else this.#takeBack(picture);
      return this.say("Taken back.");
    });
  }

  async #lookAgain() {
    await this.refresh();
    if (this.picture) await this.#load(this.picture.id);
    this.say("The server was away. Here it is as it stands now.", true);
  }

  #takeBack(picture) {
    const before = this.picture.boxes;
    this.#take(picture);
    this.selected = changedBox(before, picture.boxes)?.id ?? this.selected;
  }

  #enqueue(decision) {
    const entry = { effort: decision.effort ?? this.effort.take(), ...decision, picture: this.picture.id };
    this.outbox.add(entry);
    this.changed();
    return entry;
  }

  #deliver({ effort, ...decision }, options) {
    const body = { person: this.person, version: this.picture.version, ...decision, ...effort };
    return this.connection.reach(() => post("/api/decisions", body, options));
  }

  #answered({ action, box }, picture) {
    const known = new Set(this.picture.boxes.map((each) => each.id));
    this.#take(picture);
    const drawn = picture.boxes.find((each) => !known.has(each.id));
    if (action === "draw" && drawn) this.selected = drawn.id;
    if (action === "accept" || action === "reject") this.#goOn(box);
    this.say(SAID[action] ?? "");
    this.changed();
  }

  async #refused(decisions, error) {
    for (const lost of decisions) this.effort.giveBack(lost.effort);
    this.#take(error.picture ?? (await this.#read(decisions[0].picture)));
    const stale = "This picture changed meanwhile. Here it is as it stands now: look whether your last step is in it.";
    this.say(error.status === 409 ? stale : error.message, true);
    this.changed();
  }

  /** After a box is decided, the next one that is not. */
  #goOn(id) {
    if (this.selected !== id && this.selected !== null) return;
    const boxes = this.picture.boxes;
    const at = boxes.findIndex((box) => box.id === id);
    const after = [...boxes.slice(at + 1), ...boxes.slice(0, at)].find((box) => box.state === "open");
    if (after) this.selected = after.id;
  }
}

function goneIsNull(error) {
  if (error instanceof Gone) return null;
  throw error;
}
