// Decisions on their way to the server, one after another, in the order in which they were made.

import { Refused } from "./api.js";

export class Outbox {
  waiting = []; // those that are not answered yet
  sending = null; // a promise until all are answered, null where they are

  /**
   * `deliver(decision, options)` gives the server's answer. `answered(decision, answer)` is called for each that is
   * saved; `refused(decisions, error)` when one is not: then none of those that wait is sent.
   */
  constructor(deliver, answered, refused) {
    Object.assign(this, { deliver, answered, refused });
  }

  add(decision) {
    this.waiting.push(decision);
    return decision;
  }

  /** Begin to send; the promise holds when nothing waits any more. */
  send(options = {}) {
    if (this.waiting.length > 0) this.sending ??= this.#sendAll(options);
    return this.sending;
  }

  async #sendAll(options) {
    while (this.waiting.length > 0) {
      const decision = this.waiting[0];
      try {
        const answer = await this.deliver(decision, options);
        this.waiting.shift();
        decision.saved = true;
        this.answered(decision, answer);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        await this.refused(this.waiting.splice(0), error);
      }
    }
    this.sending = null;
  }
}
