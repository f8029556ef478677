import { el, short, svg } from "./dom.js";
import { KEPT } from "./feed.js";
const WIDTH = 560;
const HEIGHT = 160;
export function lines(of, format = short) {
    const known = of.flatMap((line) => line.values).filter(Number.isFinite);
    const top = Math.max(1e-9, ...known) * 1.1;
    const x = (index, length) => WIDTH - ((length - 1 - index) / (KEPT - 1)) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * HEIGHT;
    const chart = svg("svg", { viewBox: `-52 -8 ${WIDTH + 56} ${HEIGHT + 24}`, role: "img", "aria-label": of.map((line) => line.name).join(", ") });
    for (const part of [0, 0.5, 1]) {
        const at = HEIGHT - part * HEIGHT;
        chart.append(svg("line", { class: "grid-line", x1: 0, x2: WIDTH, y1: at, y2: at }), svg("text", { x: -6, y: at + 4, "text-anchor": "end" }, format(top * part)));
    }
    chart.append(svg("text", { x: 0, y: HEIGHT + 15 }, `${KEPT} s ago`), svg("text", { x: WIDTH, y: HEIGHT + 15, "text-anchor": "end" }, "now"));
    for (const line of of) {
        let path = "";
        let pen = "M";
        line.values.forEach((value, index) => {
            if (!Number.isFinite(value)) {
                pen = "M";
                return;
            }
            path += `${pen}${x(index, line.values.length).toFixed(1)} ${y(value).toFixed(1)}`;
            pen = "L";
        });
        chart.append(svg("path", { d: path || "M0 0", fill: "none", stroke: line.color, "stroke-width": 1.8 }));
    }
    const entries = of.map((line) => {
        const mark = el("i");
        mark.style.background = line.color;
        const newest = line.values[line.values.length - 1];
        const now = newest !== undefined && Number.isFinite(newest) ? ` ${format(newest)}` : "";
        return el("span", {}, mark, line.name + now);
    });
    return el("div", {}, chart, el("div", { class: "legend" }, ...entries));
}
export function heat(columns, rows, canvas) {
    canvas.width = KEPT;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    if (!context)
        return;
    const most = Math.max(1, ...columns.map((column) => Math.max(0, ...column)));
    context.clearRect(0, 0, KEPT, rows);
    columns.forEach((column, index) => {
        const left = KEPT - columns.length + index;
        column.slice(0, rows).forEach((count, row) => {
            if (count === 0)
                return;
            const weight = Math.log1p(count) / Math.log1p(most);
            context.fillStyle = `hsl(${Math.round(215 - 195 * weight)} 90% ${Math.round(62 - 14 * weight)}% / ${(0.25 + 0.75 * weight).toFixed(2)})`;
            context.fillRect(left, rows - 1 - row, 1, 1);
        });
    });
}
export function bar(share) {
    const inner = el("i");
    inner.style.width = `${Math.min(100, Math.max(0, share * 100)).toFixed(1)}%`;
    return el("div", { class: "bar" }, inner);
}
