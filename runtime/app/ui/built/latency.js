import { heat } from "./charts.js";
import { card, el, time } from "./dom.js";
import { cellMiddle, durations, each, latest, moments } from "./feed.js";
const LOWEST = 8;
const ROWS = 72;
export function latency(view) {
    const canvas = el("canvas", { role: "img", "aria-label": "Latency heat map" });
    canvas.style.height = "420px";
    const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, time(cellMiddle(LOWEST + ROWS * part))));
    const choice = el("select", { "aria-label": "Listener" }, el("option", { value: "" }, "all listeners"));
    view.replaceChildren(card("Latency heat map", el("div", { class: "bar-row" }, choice, el("span", { class: "dim" }, "A column is a second, now on the right; a row is a latency, the longest on top; the warmer the more requests.")), canvas, el("div", { class: "legend" }, "from bottom to top:", ...marks)));
    return each(() => {
        const now = latest();
        for (const row of now?.told.http ?? []) {
            if (![...choice.options].some((option) => option.value === row.name))
                choice.append(el("option", { value: row.name }, row.name));
        }
        const name = choice.value === "" ? undefined : choice.value;
        heat(moments.map((moment) => durations(moment, name).slice(LOWEST)), ROWS, canvas);
    });
}
