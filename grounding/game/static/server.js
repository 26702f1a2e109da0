// What the page asks of the server. Every answer is JSON; a refused request is an Error with its line and status.

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw Object.assign(new Error("The game cannot be reached: is it still running?"), { status: 0 });
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw Object.assign(new Error(body.error ?? "The game did not understand."), { status: response.status });
  }
  return body;
}

function post(path, body = {}) {
  return answer(fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }));
}

export const newPlayer = async () => (await post("/api/players")).player;
export const startRound = (player) => post("/api/rounds", { player });
export const guess = (number, painted) => post(`/api/rounds/${number}/guess`, painted);
export const endRound = (number, painted) => post(`/api/rounds/${number}/end`, painted);

export function loadPicture(place) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(Object.assign(new Error("The picture cannot be shown."), { status: 0 }));
    picture.src = `/api/pictures/${place}/image`;
  });
}
