// Boxes in px of the upright picture, half-open edges. Pure; a box never leaves the picture and never gets empty.

export const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
export const EDGES = ["x0", "y0", "x1", "y1"];

const clamped = (value, least, most) => Math.min(Math.max(value, least), most);

export const edgesOf = ({ x0, y0, x1, y1 }) => ({ x0, y0, x1, y1 });

export const areaOf = ({ x0, y0, x1, y1 }) => (x1 - x0) * (y1 - y0);

/** Whether two boxes have the same edges. */
export const same = (one, other) => EDGES.every((edge) => one[edge] === other[edge]);

/** The box of the same size, so many px further, at most to the edge of the picture. */
export function moved({ x0, y0, x1, y1 }, across, down, { width, height }) {
  const dx = clamped(across, -x0, width - x1);
  const dy = clamped(down, -y0, height - y1);
  return { x0: x0 + dx, y0: y0 + dy, x1: x1 + dx, y1: y1 + dy };
}

/** The box whose handle (`nw`, `n`, ...) lies so many px further; beyond the other edge it turns over. */
export function pulled(box, handle, across, down, { width, height }) {
  const edges = edgesOf(box);
  const pull = (edge, by, size) => (edges[edge] = Math.round(clamped(edges[edge] + by, 0, size)));
  if (handle.includes("w")) pull("x0", across, width);
  if (handle.includes("e")) pull("x1", across, width);
  if (handle.includes("n")) pull("y0", down, height);
  if (handle.includes("s")) pull("y1", down, height);
  return between(edges.x0, edges.y0, edges.x1, edges.y1, { width, height });
}

/** The box larger by so many px on each side, smaller where negative. */
export function grown({ x0, y0, x1, y1 }, by, size) {
  const dx = Math.max(by, (1 - (x1 - x0)) / 2);
  const dy = Math.max(by, (1 - (y1 - y0)) / 2);
  return between(x0 - dx, y0 - dy, x1 + dx, y1 + dy, size);
}

/** The box between two points, at least 1 px wide and high. */
export function between(xa, ya, xb, yb, { width, height }) {
  const [x0, x1] = span(xa, xb, width);
  const [y0, y1] = span(ya, yb, height);
  return { x0, y0, x1, y1 };
}

function span(one, other, size) {
  const first = clamped(Math.min(one, other), 0, size);
  const last = clamped(Math.max(one, other), 0, size);
  if (last - first >= 1) return [first, last];
  const start = clamped(first, 0, Math.max(0, size - 1));
  return [start, Math.min(size, start + 1)];
}

/** A box in the middle, of this part of each side of the picture. */
export function middle(part, { width, height }) {
  const from = (size) => Math.round((size * (1 - part)) / 2);
  const to = (size) => Math.round((size * (1 + part)) / 2);
  return between(from(width), from(height), to(width), to(height), { width, height });
}
