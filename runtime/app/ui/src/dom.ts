/** Elements. Whatever comes from outside becomes text, never markup. */

export type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

function fill<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

export function card(title: string, ...children: Child[]): HTMLElement {
  return el("section", { class: "card" }, el("h2", {}, title), ...children);
}

export interface Column<T> {
  name: string;
  /** Numbers stand on the right. */
  number?: boolean;
  long?: boolean;
  show: (row: T) => Child;
}

/** A table; `key` tells its rows apart when they are shown again. */
export function table<T>(columns: Column<T>[], rows: T[], open?: (row: T) => void, key?: (row: T) => string): HTMLElement {
  const kind = (column: Column<T>) => (column.number ? "n" : column.long ? "long" : undefined);
  const head = el("tr", {}, ...columns.map((column) => el("th", { class: kind(column), scope: "col" }, column.name)));
  const body = rows.map((row) => {
    const cells = columns.map((column) => el("td", { class: kind(column) }, column.show(row)));
    if (!open) return el("tr", {}, ...cells);
    const go = (event: Event) => {
      if (event instanceof KeyboardEvent && event.key !== "Enter") return;
      open(row);
    };
    return el("tr", { class: "link", tabindex: 0, "data-key": key?.(row), click: go, keydown: go }, ...cells);
  });
  return el("div", { class: "wide" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}

/** Shows something else in a place; the row that has the keyboard keeps it, or the first one takes it over. */
export function replace(place: HTMLElement, by: HTMLElement): void {
  const held = document.activeElement?.closest<HTMLElement>("tr.link");
  const had = held && place.contains(held);
  place.replaceChildren(by);
  if (!had) return;
  const rows = [...place.querySelectorAll<HTMLElement>("tr.link")];
  (rows.find((row) => row.dataset["key"] === held.dataset["key"]) ?? rows[0])?.focus();
}

const UNITS: [number, string][] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

export function short(value: number): string {
  for (const [size, unit] of UNITS) if (Math.abs(value) >= size) return (value / size).toPrecision(3) + unit;
  return Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2);
}

export function time(us: number): string {
  if (!Number.isFinite(us)) return "-";
  if (us >= 1e6) return (us / 1e6).toPrecision(3) + " s";
  if (us >= 1e3) return (us / 1e3).toPrecision(3) + " ms";
  return us.toFixed(0) + " us";
}

export function percent(part: number, whole: number): string {
  if (whole <= 0 || part <= 0) return "0 %";
  return ((part / whole) * 100).toPrecision(2) + " %";
}

/** The JSON that the admin API has there. */
export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return (await answer.json()) as T;
}
