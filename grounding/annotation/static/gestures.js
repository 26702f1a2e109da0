// What a mouse, a pen or a finger does over the picture: choose a box, move it, pull a handle, draw.

import { between, edgesOf, moved, pulled } from "./geometry.js";

const CLICK_PX = 3; // a press that travels less is a click

export class Gestures {
  #now = null; // the one that is going on

  /** `mayDraw()` says whether there is something to draw, `drawn()` is called when it is. */
  constructor(session, stage, mayDraw, drawn) {
    Object.assign(this, { session, stage, mayDraw, drawn });
    const on = stage.stage;
    on.addEventListener("pointerdown", (event) => this.#begin(event));
    on.addEventListener("pointermove", (event) => this.#go(event));
    on.addEventListener("pointerup", () => this.#end());
    on.addEventListener("pointercancel", () => this.stop());
    const holds = (event) => this.#now?.holds && event.cancelable && event.preventDefault(); // a finger, or it scrolls
    on.addEventListener("touchmove", holds, { passive: false });
  }

  /** Let go: nothing has happened. True where something was going on. */
  stop() {
    const going = this.#now !== null;
    this.#now = this.stage.preview = null;
    this.stage.render();
    return going;
  }

  #begin(event) {
    if (event.button !== 0 || this.#now || !this.session.picture) return;
    const { session, stage } = this;
    const under = stage.under(event);
    const handle = event.target.closest?.(".handle")?.dataset.handle;
    const finger = event.pointerType === "touch";
    const draws = stage.drawing || event.shiftKey || (!under.length && !finger);
    const kept = under.find((box) => box.id === session.selected);
    const taken = handle ? session.box : (kept ?? under[0]);
    const kind = handle ? "pull" : draws ? "draw" : taken ? "move" : "none";
    const holds = kind === "pull" || kind === "draw" || (kind === "move" && taken === kept);
    const start = { from: stage.at(event), x: event.clientX, y: event.clientY, travelled: false };
    this.#now = { kind, handle, taken, kept, under, holds, ...start };
    if (kind === "move" && taken !== kept) session.select(taken.id);
    if (kind !== "none") stage.stage.setPointerCapture(event.pointerId);
    if (!finger) event.preventDefault(); // no selecting of text, no dragging of the picture
    stage.focus();
  }

  #go(event) {
    const now = this.#now;
    if (!now || now.kind === "none" || !this.session.editable) return;
    now.travelled ||= Math.hypot(event.clientX - now.x, event.clientY - now.y) >= CLICK_PX;
    if (!now.travelled) return;
    const edges = this.#edges(now, this.stage.at(event));
    this.stage.preview = { id: now.kind === "draw" ? "new" : now.taken.id, edges };
    this.stage.render();
  }

  #edges({ kind, handle, taken, from }, to) {
    const { picture } = this.session;
    const round = Math.round;
    if (kind === "draw") return between(round(from.x), round(from.y), round(to.x), round(to.y), picture);
    const [across, down] = [to.x - from.x, to.y - from.y];
    if (kind === "pull") return pulled(taken, handle, across, down, picture);
    return moved(edgesOf(taken), round(across), round(down), picture);
  }

  #end() {
    const now = this.#now;
    if (!now) return;
    const preview = now.travelled ? this.stage.preview : null;
    this.#now = this.stage.preview = null;
    if (preview && now.kind === "draw") {
      if (!this.mayDraw()) return;
      void this.session.decide("draw", { label: this.session.label, ...preview.edges });
      this.drawn();
    } else if (preview) {
      void this.session.decide("move", { box: now.taken.id, ...preview.edges });
    } else if (!now.handle && !this.stage.drawing) {
      this.#click(now);
    }
    this.stage.render();
  }

  /** A click takes the smallest box that lies there; once more, the box behind it. */
  #click({ under, kept }) {
    if (under.length === 0) this.session.select(null);
    else if (kept) this.session.select(under[(under.indexOf(kept) + 1) % under.length].id);
    this.stage.focus();
  }
}
