// How much work a decision took: presses of the mouse, a finger or a key, and seconds at the page.

const LONGEST_PAUSE_S = 60; // who does nothing for longer is away

export const NOTHING = { actions: 0, time_s: 0 };

const MODIFIERS = new Set(["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock"]);

export class Effort {
  #actions = 0;
  #seconds = 0;
  #last = performance.now();

  /** Count what happens on the page from now on. */
  watch(page) {
    page.addEventListener("pointerdown", () => this.#acted(), true);
    page.addEventListener("keydown", (event) => !event.repeat && !MODIFIERS.has(event.key) && this.#acted(), true);
    page.addEventListener("visibilitychange", () => this.#pass(page.visibilityState === "visible"));
  }

  #acted() {
    this.#actions += 1;
    this.#pass();
  }

  #pass(away = false) {
    const now = performance.now();
    if (!away) this.#seconds += Math.min((now - this.#last) / 1000, LONGEST_PAUSE_S);
    this.#last = now;
  }

  /** Begin anew: another picture is shown. */
  reset() {
    this.take();
  }

  /** What was done since the last time, for the decision that is made now. */
  take() {
    this.#pass();
    const taken = { actions: this.#actions, time_s: Math.round(this.#seconds * 1000) / 1000 };
    this.#actions = this.#seconds = 0;
    return taken;
  }

  /** The decision came to nothing: its work counts to the next one. */
  giveBack({ actions, time_s }) {
    this.#actions += actions;
    this.#seconds += time_s;
  }
}
