// Makes elements, and keeps those of a list while what they show changes. Text goes in as text only.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A new HTML element: attributes by name, then children, which are elements or texts. */
export function element(name, attributes = {}, ...children) {
  return furnished(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svgElement(name, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, name), attributes, children);
}

function furnished(made, attributes, children) {
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

/** Set attributes; false and null take one away, true leaves it empty. */
export function setAttributes(on, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) on.removeAttribute(name);
    else on.setAttribute(name, value === true ? "" : value);
  }
}

/** Write a text, unless it stands there already: a screen reader says it once. */
export function write(on, text) {
  if (on.textContent !== text) on.textContent = text;
}

/**
 * Let `parent` hold one element for each item, in order; those of known keys stay, and with them the focus.
 * `make(item)` makes one, `update(made, item, place)` lets it show what the item now is.
 */
export function keep(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focused = document.activeElement;
  items.forEach((item, place) => {
    const key = String(keyOf(item));
    const made = old.get(key) ?? make(item);
    old.delete(key);
    made.dataset.key = key;
    if (parent.children[place] !== made) parent.insertBefore(made, parent.children[place] ?? null);
    update(made, item, place);
  });
  for (const gone of old.values()) gone.remove();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

/** Black or white: what can be read on this `#rrggbb`. */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}
