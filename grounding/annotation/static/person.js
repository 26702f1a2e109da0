// Who annotates: a name that this browser makes up once and keeps, so that its undo and its pictures are its own.

const PLACE = "grounding.annotate.person";

export function person() {
  try {
    const known = localStorage.getItem(PLACE);
    if (known) return known;
    const made = crypto.randomUUID();
    localStorage.setItem(PLACE, made);
    return made;
  } catch {
    return crypto.randomUUID(); // a browser that stores nothing: a new person at each visit
  }
}
