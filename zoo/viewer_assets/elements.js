// Elements with attributes and children; text is always set as text, never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...[children].flat().filter((child) => child !== null));
  return made;
}

/** An HTML element; attributes that begin with `on` are listeners. */
export const element = (tag, attributes = {}, children = []) =>
  filled(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, children = []) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

export const button = (label, text, onclick, attributes = {}) =>
  element("button", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, text);
