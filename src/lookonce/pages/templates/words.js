// Explanations of terms, shown when a term is pointed at, focused or tapped. Without this script, the links lead
// to the list of words.
const hint = document.getElementById("hint");
function showHint(link) {
  hint.textContent = document.getElementById(link.hash.slice(1)).textContent;
  hint.hidden = false;
  const place = link.getBoundingClientRect(), room = document.documentElement.clientWidth;
  hint.style.left = `${window.scrollX + Math.max(8, Math.min(place.left, room - hint.offsetWidth - 8))}px`;
  hint.style.top = `${window.scrollY + place.bottom + 6}px`;
}
for (const link of document.querySelectorAll("a.term")) {
  link.addEventListener("mouseenter", () => showHint(link));
  link.addEventListener("focus", () => showHint(link));
  link.addEventListener("click", (event) => { event.preventDefault(); showHint(link); });
  for (const event of ["mouseleave", "blur"]) link.addEventListener(event, () => { hint.hidden = true; });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hint.hidden = true; });
