export const KEPT = 120;
export const moments = [];
const listeners = new Set();
let last;
export function follow(state) {
    const source = new EventSource("/events");
    source.addEventListener("message", (event) => {
        state("live");
        const told = JSON.parse(event.data);
        const goesOn = last && told.server.uptime_seconds >= last.server.uptime_seconds && told.at_ms > last.at_ms;
        if (last && goesOn) {
            moments.push({ told, before: last, seconds: (told.at_ms - last.at_ms) / 1000 });
            if (moments.length > KEPT)
                moments.shift();
        }
        else {
            moments.length = 0;
        }
        last = told;
        for (const listener of listeners)
            listener();
    });
    source.addEventListener("error", () => {
        state("lost");
        if (source.readyState === EventSource.CLOSED) {
            source.close();
            setTimeout(() => follow(state), 2000);
        }
    });
}
export function each(run) {
    listeners.add(run);
    run();
    return () => void listeners.delete(run);
}
export const latest = () => moments[moments.length - 1];
export function number(row, key) {
    const value = row?.[key];
    return typeof value === "number" ? value : 0;
}
export function rate(moment, kind, keys, name) {
    const sum = (told) => {
        let total = 0;
        for (const row of told[kind])
            if (name === undefined || row.name === name)
                for (const key of keys)
                    total += number(row, key);
        return total;
    };
    return Math.max(0, sum(moment.told) - sum(moment.before)) / moment.seconds;
}
export const cellMiddle = (cell) => cellEnd(cell - 0.5);
const cellEnd = (cell) => 16 * 2 ** (cell / 4);
export function durations(moment, name) {
    const cells = [];
    const add = (told, sign) => {
        for (const row of told.http) {
            if (name !== undefined && row.name !== name)
                continue;
            const histogram = row["downstream_rq_time"];
            if (typeof histogram !== "object")
                continue;
            histogram.cells?.forEach((count, cell) => (cells[cell] = (cells[cell] ?? 0) + sign * count));
        }
    };
    add(moment.told, 1);
    add(moment.before, -1);
    return cells.map((count) => Math.max(0, count));
}
export function quantile(cells, of) {
    const total = cells.reduce((sum, count) => sum + count, 0);
    if (total === 0)
        return NaN;
    let seen = 0;
    for (const [cell, count = 0] of cells.entries()) {
        if (count > 0 && seen + count >= total * of) {
            const [low, high] = [cell > 0 ? cellEnd(cell - 1) : 0, cellEnd(cell)];
            return low + ((total * of - seen) / count) * (high - low);
        }
        seen += count;
    }
    return NaN;
}
