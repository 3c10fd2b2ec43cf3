// A grid of photos in rank order; a photo is a button that opens it.
export default function ({ data: [data], parentElement, setTriggerValue }) {
  const list = parentElement.querySelector(".cm-grid");
  const text = JSON.stringify(data);
  list.open = (id) => setTriggerValue("open", id);
  if (list.shown === text) return;
  list.shown = text;
  list.classList.toggle("cm-small", data.small);
  list.setAttribute("aria-label", data.label);
  // A tile that stays the same is kept, and the focus stays on its photo, however often results come.
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const before = new Map([...list.children].map((element) => [element.tile, element]));
  const items = data.tiles.map((tile) => {
    const key = JSON.stringify([tile, data.absent]);
    return before.get(key) ?? Object.assign(item(tile, list, data.absent), { tile: key });
  });
  list.replaceChildren(...items);
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus({ preventScroll: true });
}

function item(tile, list, absent) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "cm-tile";
  button.dataset.id = tile.id;
  button.setAttribute("aria-label", tile.opens);
  button.title = tile.title;
  button.onclick = () => list.open(tile.id);
  button.append(tile.url ? photo(tile, absent) : placeholder(absent));
  // With spaces, so that these are words of their own to programs that read them.
  if (tile.score !== null) button.append(part("span", "cm-score", tile.score), " ");
  if (tile.copies) button.append(part("span", "cm-copies", tile.copies), " ");
  if (tile.text) button.append(part("span", tile.name ? "cm-text cm-name" : "cm-text", tile.text));
  const element = document.createElement("li");
  element.append(button);
  return element;
}

function photo(tile, absent) {
  const image = new Image();
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = tile.alt;
  image.src = tile.url;
  image.onerror = () => image.replaceWith(placeholder("This photo cannot be shown"));
  return image;
}

function placeholder(text) {
  return part("span", "cm-absent", text);
}

function part(name, kind, text) {
  const element = document.createElement(name);
  element.className = kind;
  element.textContent = text;
  return element;
}
