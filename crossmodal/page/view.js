// The large view of a photo: previous and next by button or arrow key. Which photo is open stands in the address.
const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable], [role=slider], [role=tab], [role=radio]";

export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".cm-view");
  const [image] = root.getElementsByTagName("img");
  const [previous, next] = root.querySelectorAll("button");
  if (image.getAttribute("src") !== data.url) image.src = data.url ?? "";
  image.alt = data.alt;
  image.hidden = !data.url;
  root.querySelector(".cm-absent").hidden = Boolean(data.url);
  const download = root.querySelector("a");
  download.hidden = !data.original;
  download.href = data.original ?? "";
  download.download = data.name;
  const show = (id) => {
    const at = data.among.indexOf(id);
    root.querySelector(".cm-place").textContent = at < 0 ? "" : `${at + 1} of ${data.among.length}`;
    previous.disabled = at < 1;
    next.disabled = at < 0 || at + 1 >= data.among.length;
  };
  // From the photo in the address, which is ahead of the one that is shown when keys come fast.
  const step = (by) => {
    const other = data.among[data.among.indexOf(inAddress() ?? data.id) + by];
    if (!other) return;
    address(other);
    show(other);
    dispatchEvent(new PopStateEvent("popstate")); // has Streamlit read the address
  };
  show(inAddress() ?? data.id);
  previous.onclick = () => step(-1);
  next.onclick = () => step(1);
  const pressed = (event) => {
    if (event.target.closest?.(TYPING) || event.ctrlKey || event.altKey || event.metaKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !inAddress()) return;
    event.preventDefault();
    step(by);
  };
  // It stays until the next photo has its own, so that no key is lost meanwhile.
  document.removeEventListener("keydown", window.crossmodalPressed);
  document.addEventListener("keydown", (window.crossmodalPressed = pressed));
  return () => closed(data.id);
}

function inAddress() {
  return new URLSearchParams(location.search).get("photo");
}

// Replaces the entry of the history, so that going back closes the large view.
function address(id) {
  const given = new URLSearchParams(location.search);
  if (id) given.set("photo", id);
  else given.delete("photo");
  history.replaceState(history.state, "", location.pathname + (given.size ? `?${given}` : ""));
}

// When the large view was closed, the keyboard goes on at the photo that was open, however late its tile is there
// again, until the user does something else.
function closed(id) {
  const events = ["keydown", "pointerdown"];
  const dismissed = inAddress() === id; // not where one went back
  let looks = 0;
  window.crossmodalStop?.();
  const stop = (window.crossmodalStop = () => {
    clearInterval(timer);
    for (const name of events) removeEventListener(name, stop, true);
  });
  const timer = setInterval(() => {
    if (document.querySelector("[role=dialog]")) return;
    looks += 1; // one is not enough: there may be a gap between two photos
    if (looks === 2 && dismissed && inAddress() === id) address(null);
    if (looks < 2 || inAddress()) return;
    const tile = document.querySelector(`.st-key-results .cm-tile[data-id="${id}"]`);
    if (document.activeElement !== tile && document.activeElement?.matches("body, .cm-tile")) tile?.focus();
  }, 50);
  for (const name of events) addEventListener(name, stop, true);
}
