// The large view of a photo: previous and next by button or arrow key.
const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable], [role=slider], [role=tab], [role=radio]";

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".cm-view");
  const [image] = root.getElementsByTagName("img");
  const [previous, next] = root.querySelectorAll("button");
  if (image.getAttribute("src") !== data.url) image.src = data.url ?? "";
  image.alt = data.alt;
  image.hidden = !data.url;
  root.querySelector(".cm-absent").hidden = Boolean(data.url);
  root.querySelector(".cm-place").textContent = data.place;
  const download = root.querySelector("a");
  download.hidden = !data.original;
  download.href = data.original ?? "";
  download.download = data.name;
  for (const [button, name, step] of [[previous, data.previous, -1], [next, data.next, 1]]) {
    button.disabled = !name;
    button.setAttribute("aria-label", `${step < 0 ? "Previous" : "Next"} photo${name ? `: ${name}` : ""}`);
    button.onclick = () => setTriggerValue("step", step);
  }
  const pressed = (event) => {
    if (event.target.closest?.(TYPING) || event.ctrlKey || event.altKey || event.metaKey) return;
    const button = { ArrowLeft: previous, ArrowRight: next }[event.key];
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  };
  document.addEventListener("keydown", pressed);
  return () => {
    document.removeEventListener("keydown", pressed);
    setTimeout(() => focusTile(data.id), 400);
  };
}

// When the large view was closed, the keyboard goes on at the photo that was open.
function focusTile(id) {
  if (document.querySelector("[role=dialog]") || ![null, document.body].includes(document.activeElement)) return;
  document.querySelector(`.cm-tile[data-id="${id}"]`)?.focus();
}
