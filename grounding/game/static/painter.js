// A canvas that uncovers a blurred picture under a round brush, by mouse, finger, pen or keyboard.

const BLURRED_PX = 24; // of the longer side of what is hidden
const SHARP_PX = 960; // of the longer side of the canvas, so that the rims of bubbles are smooth
const DIMMED = "rgb(16 18 20 / .38)"; // what is hidden while the round lasts
const SHADE = "rgb(16 18 20 / .45)"; // what was not painted, afterwards
const STEP = 1; // of the radius, between two bubbles of a stroke
const KEY_STEP = 0.6; // of the radius, for an arrow key; with Shift three times that
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Painter {
  // painted(): is called after each new bubble.
  constructor(canvas, brush, painted) {
    Object.assign(this, { canvas, brush, painted, active: false, down: false });
    this.pen = canvas.getContext("2d");
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.lift());
    canvas.addEventListener("pointerleave", () => { if (!this.down) this.brush.hidden = true; });
    canvas.addEventListener("keydown", (event) => this.keyDown(event));
    canvas.addEventListener("keyup", (event) => { if (event.key === " ") this.lift(); });
    canvas.addEventListener("focus", () => { if (this.active && canvas.matches(":focus-visible")) this.showBrush(); });
    canvas.addEventListener("blur", () => { this.lift(); this.brush.hidden = true; });
    window.addEventListener("resize", () => { this.brush.hidden = true; });
  }

  // round: width, height in px of the picture, radius as a share of its shorter side, most bubbles.
  begin(picture, round) {
    const { canvas, pen } = this;
    Object.assign(this, { picture, round, active: true, down: false, bubbles: [], began: null, pointer: "mouse" });
    const larger = Math.max(1, SHARP_PX / Math.max(picture.naturalWidth, picture.naturalHeight));
    canvas.width = Math.round(picture.naturalWidth * larger);
    canvas.height = Math.round(picture.naturalHeight * larger);
    canvas.parentElement.style.setProperty("--ratio", canvas.width / canvas.height);
    canvas.classList.remove("over");
    this.radius = round.radius * Math.min(canvas.width, canvas.height);
    this.at = [canvas.width / 2, canvas.height / 2];
    const scale = Math.min(1, BLURRED_PX / Math.max(canvas.width, canvas.height));
    const tiny = document.createElement("canvas");
    tiny.width = Math.max(1, Math.round(canvas.width * scale));
    tiny.height = Math.max(1, Math.round(canvas.height * scale));
    const small = tiny.getContext("2d");
    small.imageSmoothingQuality = "high";
    small.drawImage(picture, 0, 0, tiny.width, tiny.height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(tiny, 0, 0, canvas.width, canvas.height);
    pen.fillStyle = DIMMED;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    this.brush.hidden = true;
  }

  // The bubbles so far, in px of the picture and seconds since the first one; and what they were painted with.
  get strokes() {
    return { bubbles: this.bubbles, pointer: this.pointer };
  }

  get seconds() {
    return this.began === null ? 0 : (performance.now() - this.began) / 1000;
  }

  stop() {
    this.active = false;
    this.lift();
    this.brush.hidden = true;
    this.canvas.classList.add("over");
  }

  // The whole picture, a little darker where it was not painted.
  reveal() {
    const { pen, canvas, round } = this;
    const shade = document.createElement("canvas");
    shade.width = canvas.width;
    shade.height = canvas.height;
    const cut = shade.getContext("2d");
    cut.fillStyle = SHADE;
    cut.fillRect(0, 0, shade.width, shade.height);
    cut.globalCompositeOperation = "destination-out";
    cut.fillStyle = "#000";
    for (const [x, y] of this.bubbles) {
      cut.beginPath();
      cut.arc((x * canvas.width) / round.width, (y * canvas.height) / round.height, this.radius, 0, 2 * Math.PI);
      cut.fill();
    }
    pen.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
    if (this.bubbles.length) pen.drawImage(shade, 0, 0);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.inside([
      ((event.clientX - box.left) * this.canvas.width) / box.width,
      ((event.clientY - box.top) * this.canvas.height) / box.height,
    ]);
  }

  inside([x, y]) {
    return [Math.min(Math.max(x, 0), this.canvas.width), Math.min(Math.max(y, 0), this.canvas.height)];
  }

  pressed(event) {
    if (!this.active || (event.pointerType === "mouse" && event.button !== 0)) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = ["touch", "pen"].includes(event.pointerType) ? event.pointerType : "mouse";
    this.at = this.place(event);
    this.down = true;
    this.uncover(...this.at);
    this.showBrush();
  }

  moved(event) {
    if (!this.active) return;
    const between = this.down ? event.getCoalescedEvents?.() ?? [] : [];
    for (const each of between.length ? between : [event]) this.go(this.place(each));
    this.showBrush();
  }

  keyDown(event) {
    if (!this.active || event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    this.pointer = "keyboard";
    if (arrow) {
      const step = this.radius * KEY_STEP * (event.shiftKey ? 3 : 1);
      this.go(this.inside([this.at[0] + arrow[0] * step, this.at[1] + arrow[1] * step]));
    } else if (!event.repeat) {
      this.down = true;
      this.uncover(...this.at);
    }
    this.showBrush();
  }

  // Move the brush; while it is down, bubbles follow it.
  go(to) {
    if (this.down) {
      const step = STEP * this.radius;
      let [x, y] = this.last;
      let left = Math.hypot(to[0] - x, to[1] - y);
      while (left >= step && this.down) {
        x += ((to[0] - x) * step) / left;
        y += ((to[1] - y) * step) / left;
        this.uncover(x, y);
        left = Math.hypot(to[0] - x, to[1] - y);
      }
    }
    this.at = to;
  }

  lift() {
    this.down = false;
    this.brush.classList.remove("down");
  }

  uncover(x, y) {
    this.last = [x, y];
    if (this.bubbles.length >= this.round.most) return;
    this.began ??= performance.now();
    const { pen, canvas, round } = this;
    pen.save();
    pen.beginPath();
    pen.arc(x, y, this.radius, 0, 2 * Math.PI);
    pen.clip();
    pen.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
    pen.restore();
    const rounded = (value, most) => Math.min(most, Math.round(value * 10) / 10);
    this.bubbles.push([
      rounded((x * round.width) / canvas.width, round.width),
      rounded((y * round.height) / canvas.height, round.height),
      Math.round(this.seconds * 1000) / 1000,
    ]);
    this.painted();
  }

  showBrush() {
    const { canvas, brush } = this;
    const scale = canvas.clientWidth / canvas.width;
    const side = 2 * this.radius * scale;
    brush.hidden = false;
    brush.classList.toggle("down", this.down);
    brush.style.width = brush.style.height = `${side}px`;
    brush.style.transform = `translate(${this.at[0] * scale - side / 2}px, ${this.at[1] * scale - side / 2}px)`;
  }
}
