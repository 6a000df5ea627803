// A dropped file goes into the form; while the server works the button says so. Without this script the form works as it is.
"use strict";
const form = document.querySelector("form");
const file = form.querySelector("input[type=file]");
const example = form.querySelector("select[name=example]");
const label = document.getElementById("chosen");
const button = form.querySelector("button");
const zone = document.getElementById("drop");
const empty = label.textContent;
const largest = Number(form.dataset.bytes);

function show() {
  const chosen = file.files[0];
  label.textContent = chosen ? `${chosen.name} (${(chosen.size / 2 ** 20).toFixed(1)} MiB)` : empty;
  const large = chosen && chosen.size > largest;
  file.setCustomValidity(large ? "This file is larger than the server takes." : "");
  label.classList.toggle("mistaken", Boolean(large));
  if (chosen && example) example.value = "";
}
file.addEventListener("change", show);
if (example) example.addEventListener("change", () => { if (example.value) { file.value = ""; show(); } });
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.remove("over"); });
}
document.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) { file.files = event.dataTransfer.files; show(); }
});
form.addEventListener("submit", () => { button.disabled = true; button.textContent = "Working …"; });
window.addEventListener("pageshow", () => { button.disabled = false; button.textContent = "Classify"; });
show();
