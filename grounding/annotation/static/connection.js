// Holds on to a server that may go away: asks again until it answers, and says meanwhile that it does not.

import { Gone } from "./api.js";

const RETRY_MS = 2000;

export class Connection {
  gone = false;
  #tryNow = () => {};

  /** `changed()` is called when the server goes away and when it is back. */
  constructor(changed) {
    this.changed = changed;
  }

  /** The answer to `request()`, which is called again as long as the server is gone. */
  async reach(request) {
    for (;;) {
      try {
        const answer = await request();
        this.#set(false);
        return answer;
      } catch (error) {
        this.#set(error instanceof Gone);
        if (!this.gone) throw error;
        await this.#pause();
      }
    }
  }

  /** Try again at once instead of after the pause. */
  retry() {
    this.#tryNow();
  }

  #pause() {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, RETRY_MS);
      this.#tryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #set(gone) {
    if (gone === this.gone) return;
    this.gone = gone;
    this.changed();
  }
}
