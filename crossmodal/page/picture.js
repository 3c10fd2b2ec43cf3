// A picture for the search: chosen, dropped anywhere on the page, or pasted.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".cm-picture");
  const input = root.querySelector("input");
  const problem = root.querySelector("[role=alert]");
  const chip = root.querySelector(".cm-chip");
  chip.hidden = !data.url;
  chip.querySelector("img").src = data.url ?? "data:,";
  chip.querySelector("button").onclick = () => setTriggerValue("removed", true);
  root.querySelector(".cm-add").textContent = data.url ? "Another picture" : "Add a picture";

  const send = async (file) => {
    if (!file) return;
    problem.textContent = "";
    root.classList.add("cm-busy");
    try {
      const answer = await fetch("pictures", { method: "POST", body: file, headers: { "X-Picture-Name": encodeURIComponent(file.name || "The picture") } });
      const said = await answer.json();
      if (said.token) setTriggerValue("picture", said.token);
      else {
        problem.textContent = said.error;
        if (!chip.hidden) setTriggerValue("removed", true);  // results of the picture before would stand below the error
      }
    } catch {
      problem.textContent = "The picture could not be sent; try again.";
    }
    root.classList.remove("cm-busy");
    input.value = "";
  };
  input.onchange = () => send(input.files[0]);

  const open = () => document.querySelector("[role=dialog]");
  const image = (files) => [...(files ?? [])].find((file) => file.type.startsWith("image/")) ?? files?.[0];
  const listeners = {
    paste: (event) => { const file = image(event.clipboardData?.files); if (file && !open()) { event.preventDefault(); send(file); } },
    dragover: (event) => { if (event.dataTransfer?.types.includes("Files")) { event.preventDefault(); root.classList.add("cm-over"); } },
    dragleave: (event) => { if (!event.relatedTarget) root.classList.remove("cm-over"); },
    drop: (event) => { root.classList.remove("cm-over"); const file = image(event.dataTransfer?.files); if (file && !open()) { event.preventDefault(); send(file); } },
  };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener);
  return () => { for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener); };
}
