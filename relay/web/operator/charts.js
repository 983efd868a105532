/* Small charts in SVG: each redraws itself whole, and says in words what it shows. */

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 64;
const BASE = 62;
const TOP = 6;

function node(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function begin(svg, height, label) {
  const width = Math.max(svg.clientWidth, 120);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", label);
  return width;
}

const titled = (shape, text) => {
  shape.append(node("title", {}, text));
  return shape;
};

/** A stepped area: how many there were at each time. `points` are {value, title}. */
export function area(svg, points, label) {
  const width = begin(svg, HEIGHT, label);
  const most = Math.max(...points.map(({ value }) => value), 1);
  const step = width / points.length;
  const y = (value) => BASE - (value / most) * (BASE - TOP);
  const line = points.map(({ value }, index) => `${index ? "L" : "M"}${index * step} ${y(value)}H${(index + 1) * step}`).join("");
  svg.replaceChildren(
    node("path", { class: "area", d: `${line}V${BASE}H0Z` }),
    node("path", { class: "edge", d: line }),
    ...points.map(({ title }, index) =>
      titled(node("rect", { class: "hit", x: index * step, y: 0, width: step, height: HEIGHT }), title),
    ),
  );
}

/** Bars from the ground. */
export function bars(svg, points, label) {
  const width = begin(svg, HEIGHT, label);
  const most = Math.max(...points.map(({ value }) => value)) || 1;
  const step = width / points.length;
  svg.replaceChildren(node("path", { class: "ground", d: `M0 ${BASE}H${width}` }));
  points.forEach(({ value, title }, index) => {
    const height = value ? Math.max((value / most) * (BASE - TOP), 1.5) : 0;
    const x = index * step + step * 0.14;
    svg.append(node("rect", { class: "bar", x, y: BASE - height, width: step * 0.72, height, rx: Math.min(step * 0.2, 2) }));
    svg.append(titled(node("rect", { class: "hit", x: index * step, y: 0, width: step, height: HEIGHT }), title));
  });
}

/** Handovers above a line, errors below it. `points` are {handovers, errors, title}. */
export function events(svg, points, label) {
  const width = begin(svg, HEIGHT, label);
  const middle = HEIGHT / 2;
  const most = Math.max(...points.map(({ handovers, errors }) => Math.max(handovers, errors)), 3);
  const step = width / points.length;
  const size = (value) => (value ? Math.max((value / most) * (middle - 4), 3) : 0);
  svg.replaceChildren(node("path", { class: "ground", d: `M0 ${middle}H${width}` }));
  points.forEach(({ handovers, errors, title }, index) => {
    const box = { x: index * step + step * 0.14, width: step * 0.72, rx: Math.min(step * 0.2, 2) };
    svg.append(node("rect", { ...box, class: "bar-handover", y: middle - 1 - size(handovers), height: size(handovers) }));
    svg.append(node("rect", { ...box, class: "bar-error", y: middle + 1, height: size(errors) }));
    svg.append(titled(node("rect", { class: "hit", x: index * step, y: 0, width: step, height: HEIGHT }), title));
  });
}

/** A bar for each day with its label underneath; the highest one says how much. `points` are {value, label, shown, title}. */
export function days(svg, points, label) {
  const height = 170;
  const ground = 142;
  const width = begin(svg, height, label);
  const most = Math.max(...points.map(({ value }) => value)) || 1;
  const step = width / points.length;
  const every = Math.ceil(64 / step);
  svg.replaceChildren(node("path", { class: "ground", d: `M0 ${ground}H${width}` }));
  points.forEach(({ value, label: day, shown, title }, index) => {
    const tall = value ? Math.max((value / most) * (ground - 24), 2) : 0;
    const middle = (index + 0.5) * step;
    const wide = Math.min(step * 0.7, 34);
    svg.append(
      titled(node("rect", { class: "bar", x: middle - wide / 2, y: ground - tall, width: wide, height: tall, rx: 3 }), title),
    );
    if (value === most || index === points.length - 1) {
      const anchor = index < 2 ? "start" : index > points.length - 3 ? "end" : "middle";
      const x = anchor === "start" ? index * step : anchor === "end" ? (index + 1) * step : middle;
      if (value) svg.append(node("text", { class: "amount", x, y: ground - tall - 7, "text-anchor": anchor }, shown));
    }
    if ((points.length - 1 - index) % every === 0) {
      const last = index === points.length - 1;
      const x = last ? width : middle;
      svg.append(node("text", { class: "tick", x, y: height - 10, "text-anchor": last ? "end" : "middle" }, day));
    }
  });
}
