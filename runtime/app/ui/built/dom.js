function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function")
            element.addEventListener(name, value);
        else if (value === true)
            element.setAttribute(name, "");
        else if (value !== undefined && value !== false)
            element.setAttribute(name, String(value));
    }
    for (const child of children) {
        if (child === null || child === undefined || child === false)
            continue;
        element.append(child instanceof Node ? child : String(child));
    }
    return element;
}
export function el(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}
export function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
export function card(title, ...children) {
    return el("section", { class: "card" }, el("h2", {}, title), ...children);
}
export function table(columns, rows, open, key) {
    const kind = (column) => (column.number ? "n" : column.long ? "long" : undefined);
    const head = el("tr", {}, ...columns.map((column) => el("th", { class: kind(column), scope: "col" }, column.name)));
    const body = rows.map((row) => {
        const cells = columns.map((column) => el("td", { class: kind(column) }, column.show(row)));
        if (!open)
            return el("tr", {}, ...cells);
        const go = (event) => {
            if (event instanceof KeyboardEvent && event.key !== "Enter")
                return;
            open(row);
        };
        return el("tr", { class: "link", tabindex: 0, "data-key": key?.(row), click: go, keydown: go }, ...cells);
    });
    return el("div", { class: "wide" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}
export function replace(place, by) {
    const held = document.activeElement?.closest("tr.link");
    const had = held && place.contains(held);
    place.replaceChildren(by);
    if (!had)
        return;
    const rows = [...place.querySelectorAll("tr.link")];
    (rows.find((row) => row.dataset["key"] === held.dataset["key"]) ?? rows[0])?.focus();
}
const UNITS = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
export function short(value) {
    for (const [size, unit] of UNITS)
        if (Math.abs(value) >= size)
            return (value / size).toPrecision(3) + unit;
    return Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2);
}
export function time(us) {
    if (!Number.isFinite(us))
        return "-";
    if (us >= 1e6)
        return (us / 1e6).toPrecision(3) + " s";
    if (us >= 1e3)
        return (us / 1e3).toPrecision(3) + " ms";
    return us.toFixed(0) + " us";
}
export function percent(part, whole) {
    if (whole <= 0 || part <= 0)
        return "0 %";
    return ((part / whole) * 100).toPrecision(2) + " %";
}
export async function ask(path) {
    const answer = await fetch(path);
    if (!answer.ok)
        throw new Error((await answer.text()).trim());
    return (await answer.json());
}
