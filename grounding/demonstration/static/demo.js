// Lights up one phrase of an answer: while it is pointed at or has the focus, or until it is pressed again.
// The answer is replaced as a whole by the page, so everything here listens to the document.
"use strict";
(() => {
  let pinned = null; // number of the phrase that was pressed, as a text

  const phraseOf = (event) =>
    event.target instanceof Element ? event.target.closest("[data-answer] [data-phrase]") : null;

  function light(number) {
    for (const answer of document.querySelectorAll("[data-answer]")) {
      const there = number !== null && answer.querySelector(`[data-phrase="${CSS.escape(number)}"]`) !== null;
      answer.classList.toggle("choosing", there);
      for (const part of answer.querySelectorAll("[data-of]")) {
        part.classList.toggle("chosen", there && part.dataset.of === number);
      }
      for (const button of answer.querySelectorAll("button[data-phrase]")) {
        button.setAttribute("aria-pressed", String(button.dataset.phrase === pinned));
      }
    }
  }

  function onPhrase(name, act) {
    document.addEventListener(name, (event) => {
      const phrase = phraseOf(event);
      if (phrase !== null) act(phrase, event);
    });
  }

  onPhrase("pointerover", (phrase) => light(phrase.dataset.phrase));
  onPhrase("pointerout", () => light(pinned));
  onPhrase("focusin", (phrase) => light(phrase.dataset.phrase));
  onPhrase("focusout", () => light(pinned));
  onPhrase("click", (phrase) => {
    const number = phrase.dataset.phrase;
    pinned = pinned === number ? null : number;
    light(pinned);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      pinned = null;
      light(null);
    }
  });

  // A new answer keeps the pressed phrase where the sentence is the same: only a setting has changed.
  let sentence = "";
  new MutationObserver(() => {
    const shown = document.querySelector("[data-answer]:not([data-seen])");
    if (shown === null) return;
    shown.setAttribute("data-seen", "");
    const now = shown.querySelector(".sentence")?.textContent ?? "";
    if (now !== sentence) pinned = null;
    sentence = now;
    light(pinned);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
