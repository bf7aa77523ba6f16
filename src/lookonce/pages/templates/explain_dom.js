"use strict";
// Elements. Text is always set as text, so HTML in a name is shown, not interpreted.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 * @param {string} tag
 * @param {Object<string, *>} attributes names with `on` add listeners; undefined and false are left out
 * @param {...(Node|string|number)} children
 * @returns {HTMLElement}
 */
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element; otherwise as `el`. @returns {SVGElement} */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;  // the security policy forbids style attributes
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** @param {string} id @returns {HTMLElement} */
const byId = (id) => document.getElementById(id);

/** A drop-down list with its label. @param {string[]} options @param {function(number)} changed given the index */
function select(label, options, changed) {
  const list = el("select", { onchange: () => changed(list.selectedIndex) });
  list.append(...options.map((option) => el("option", {}, option)));
  return { list, whole: el("label", {}, label, list) };
}

/** A number field with its label. */
function numberField(label, limits, changed) {
  const field = el("input", { type: "number", ...limits, onchange: () => changed(Number(field.value)) });
  return { field, whole: el("label", {}, label, field) };
}

/**
 * A table.
 * @param {string} caption
 * @param {Array<string>} headings a heading that starts with # is that of a column of numbers
 * @param {Array<{cells: Array<Node|string|number>, chosen?: boolean}>} rows the first cell heads its row
 */
function table(caption, headings, rows, attributes = {}) {
  const isNumber = headings.map((heading) => heading.startsWith("#"));
  const kind = (index) => (isNumber[index] ? "number" : undefined);
  const head = headings.map((heading, index) =>
    el("th", { scope: "col", class: kind(index) }, heading.replace(/^#/, "")));
  const body = rows.map(({ cells, chosen }) => el("tr", { class: chosen && "chosen" }, ...cells.map((cell, index) =>
    index === 0 ? el("th", { scope: "row" }, cell) : el("td", { class: kind(index) }, cell))));
  return el("table", attributes, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body));
}

/** A function that announces text to screen readers after a pause, so a held arrow key announces only once. */
function announcer(id) {
  let waiting = 0;
  return (text) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { byId(id).textContent = text; }, 250);
  };
}

/** Scroll to a stage and focus it. */
function goTo(id) {
  byId(id).scrollIntoView();
  const title = byId(`${id}-title`);
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
}

// The link of the stage in view is marked.
const stageLinks = new Map([...document.querySelectorAll(".walk a")].map((link) => [link.hash.slice(1), link]));
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of stageLinks.values()) link.removeAttribute("aria-current");
    const link = stageLinks.get(entry.target.id);
    link.setAttribute("aria-current", "true");
    const bar = link.closest("ol");  // not by scrollIntoView, which would scroll the page too
    bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const id of stageLinks.keys()) inView.observe(byId(id));
