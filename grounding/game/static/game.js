// The course of the game: welcome, rounds, thanks. All texts of the server are set as text, never as HTML.

import { Painter } from "./painter.js";
import { endRound, guess, loadPicture, newPlayer, startRound } from "./server.js";

const WAIT_MS = 120; // after a bubble, before the computer is asked
const PLAYER = "clickme-player";
const $ = (id) => document.getElementById(id);
const state = { player: null, round: null, standing: null, over: false, beginning: false, asking: false, waiting: null, dirty: false };
const painter = new Painter($("canvas"), $("brush"), soon);

function show(name) {
  for (const section of ["welcome", "round", "thanks"]) $(section).hidden = section !== name;
  $("trouble").hidden = true;
}

function say(text) {
  $("said").textContent = text;
}

function showStanding(standing) {
  state.standing = standing;
  const { score, streak, rounds } = standing;
  $("standing").hidden = false;
  $("score").textContent = score;
  $("streak").textContent = streak;
  $("count").textContent = rounds;
}

// Run what asks the server; where that fails, say so and offer to try again.
async function trying(work) {
  try {
    await work();
  } catch (error) {
    painter.stop();
    state.over = true;
    $("trouble-text").textContent = error.status === 404 ? "This round was lost. On to another one." : error.message;
    $("trouble").hidden = false;
    $("retry").focus();
  }
}

async function next() {
  if (state.beginning) return;
  state.beginning = true;
  try {
    state.player ??= await knownPlayer();
    const { round, standing } = await startRound(state.player);
    showStanding(standing);
    if (round === null) {
      thanks(standing, false);
      return;
    }
    begin(round, await loadPicture(round.picture));
  } finally {
    state.beginning = false;
  }
}

async function knownPlayer() {
  let player = null;
  try {
    player = localStorage.getItem(PLAYER);
    if (!/^[0-9a-f]{16}$/.test(player ?? "")) player = null;
  } catch { /* storage is off: a player for this page */ }
  player ??= await newPlayer();
  try {
    localStorage.setItem(PLAYER, player);
  } catch { /* the same */ }
  return player;
}

function begin(round, picture) {
  Object.assign(state, { round, over: false, dirty: false });
  show("round");
  $("category").textContent = round.category;
  $("canvas").setAttribute("aria-label", `A blurred picture of: ${round.category}`);
  $("thinking").hidden = false;
  $("verdict").hidden = true;
  $("skip").hidden = false;
  $("guesses").replaceChildren();
  $("guesses").style.setProperty("--guesses", round.guesses);
  $("hint").textContent = round.known ? "" : "The computer does not know this word: paint until the time is up.";
  painter.begin(picture, round);
  tick();
  say(`Show the computer: ${round.category}`);
  $("canvas").focus({ preventScroll: true, focusVisible: false });
}

// The clock

function tick() {
  if (state.over) return;
  const { seconds } = state.round;
  const left = Math.max(0, seconds - painter.seconds);
  $("clock").value = left / seconds;
  $("seconds").textContent = `${Math.ceil(left)} seconds left`;
  if (left === 0) trying(() => finish("time"));
  else setTimeout(tick, 100);
}

// Guessing: one question at a time, a little after the last bubble

function soon() {
  state.dirty = true;
  state.waiting ??= setTimeout(ask, WAIT_MS);
}

async function ask() {
  state.waiting = null;
  if (state.asking || state.over || !state.dirty) return;
  const { round } = state;
  state.asking = true;
  state.dirty = false;
  await trying(async () => {
    try {
      const { guesses, over } = await guess(round.number, { player: state.player, ...painter.strokes });
      if (round !== state.round || state.over) return;
      if (guesses.length) showGuesses(guesses);
      if (over) ended(over);
    } catch (error) {
      if (round === state.round && !state.over) throw error;
    }
  });
  state.asking = false;
  if (state.dirty) soon();
}

function showGuesses(guesses) {
  const items = guesses.map(({ name, share }) => {
    const item = document.createElement("li");
    const bar = document.createElement("span");
    const text = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${Math.round(share * 100)}%`;
    text.className = "text";
    text.textContent = name;
    item.classList.toggle("right", name === state.round.category);
    item.append(bar, text);
    return item;
  });
  $("guesses").replaceChildren(...items);
  const missing = state.round.least - painter.strokes.bubbles.length;
  if (state.round.known) $("hint").textContent = missing > 0 ? "Show a little more." : "";
}

// The end of a round

async function finish(outcome) {
  if (state.over) return;
  state.over = true;
  painter.stop();
  const { over } = await endRound(state.round.number, { player: state.player, outcome, ...painter.strokes });
  ended(over);
}

function ended({ outcome, points, standing }) {
  state.over = true;
  painter.stop();
  painter.reveal();
  showStanding(standing);
  const { category } = state.round;
  const heads = { recognised: `It knows: ${category}!`, time: "Time is up", skipped: "Skipped" };
  const tails = { recognised: `${points} points`, time: `It was looking for: ${category}`, skipped: `It was: ${category}` };
  $("outcome").textContent = heads[outcome];
  $("outcome").classList.toggle("missed", outcome !== "recognised");
  $("points").textContent = tails[outcome];
  $("canvas").setAttribute("aria-label", `The whole picture: ${category}`);
  $("verdict").hidden = false;
  $("skip").hidden = true;
  if (outcome === "skipped") $("thinking").hidden = true;
  say(`${heads[outcome].replace(/!$/, "")}. ${tails[outcome]}.`);
  $("next").focus({ preventScroll: true });
}

function thanks({ rounds, recognised, score }, more) {
  state.over = true;
  show("thanks");
  const pictures = rounds === 1 ? "1 picture" : `${rounds} pictures`;
  $("reached").textContent = `You showed ${pictures}; the computer recognised ${recognised}. Your score: ${score}.`;
  $("left").textContent = more ? "" : "You have seen every picture there is.";
  $("again").hidden = !more;
  $("thanks-title").focus();
}

async function stop() {
  if (!state.over && painter.strokes.bubbles.length === 0) state.over = true; // nothing was begun
  if (!state.over) await finish("skipped");
  painter.stop();
  thanks(state.standing, true);
}

function somebodyElse() {
  try {
    localStorage.removeItem(PLAYER);
  } catch { /* storage is off */ }
  state.player = null;
  $("standing").hidden = true;
  show("welcome");
  $("play").focus();
}

for (const id of ["play", "next", "again", "retry"]) $(id).addEventListener("click", () => trying(next));
$("skip").addEventListener("click", () => trying(() => finish("skipped")));
$("stop").addEventListener("click", () => trying(stop));
$("another").addEventListener("click", somebodyElse);
