import { card, el, short, svg } from "./dom.js";
import { each, latest, number, rate } from "./feed.js";
import { hosts } from "./clusters.js";
import { dump, routesOf } from "./routes.js";
const ROW = 46;
const COLUMNS = [0, 380, 760];
const BOX = 230;
export function topology(view) {
    const picture = el("div", { class: "wide" });
    view.replaceChildren(card("Topology", el("p", { class: "dim" }, "Requests per second; what fails is red."), picture));
    let edges = [];
    let generation;
    let known = [];
    let before = new Map();
    let hostRates = new Map();
    let asked = 0;
    const stop = each(() => {
        const now = latest();
        if (!now)
            return;
        if (generation !== now.told.server.generation) {
            generation = now.told.server.generation;
            void dump().then((dump) => {
                const pairs = routesOf(dump).flatMap((route) => route.clusters.map((cluster) => `${route.listener}\u0000${cluster}`));
                edges = [...new Set(pairs)].map((pair) => pair.split("\u0000"));
            }).catch(() => undefined);
        }
        void hosts().then((all) => {
            const counts = new Map(all.flatMap((cluster) => cluster.host_statuses.map((host) => [`${cluster.name} ${host.address}`, host.rq_total])));
            const at = Date.now();
            if (asked > 0)
                hostRates = new Map([...counts].map(([key, count]) => [key, Math.max(0, count - (before.get(key) ?? count)) / ((at - asked) / 1000)]));
            [known, before, asked] = [all, counts, at];
        }).catch(() => undefined);
        const listeners = [...now.told.http, ...now.told.tcp].map((row) => ({
            name: row.name,
            rate: rate(now, "http", ["downstream_rq_total"], row.name) + rate(now, "tcp", ["downstream_cx_total"], row.name),
            errors: rate(now, "http", ["downstream_rq_5xx"], row.name),
            note: "",
        }));
        const unique = listeners.filter((knot, at) => listeners.findIndex((other) => other.name === knot.name) === at);
        const clusters = now.told.clusters.slice(0, 40).map((row) => ({
            name: row.name,
            rate: rate(now, "clusters", ["upstream_rq_total"], row.name),
            errors: rate(now, "clusters", ["upstream_rq_5xx", "upstream_cx_connect_fail"], row.name),
            note: `${number(row, "membership_healthy")}/${number(row, "membership_total")} healthy`,
        }));
        const ends = clusters.flatMap((cluster) => (known.find((one) => one.name === cluster.name)?.host_statuses ?? []).slice(0, 20).map((host) => ({
            name: host.address, of: cluster.name, rate: hostRates.get(`${cluster.name} ${host.address}`) ?? 0, errors: 0, note: host.health_flags, well: host.healthy,
        })));
        const height = Math.max(unique.length, clusters.length, ends.length, 1) * ROW;
        const y = (at, count) => (height / Math.max(1, count)) * (at + 0.5);
        const most = Math.max(1, ...clusters.map((cluster) => cluster.rate));
        const drawing = svg("svg", { viewBox: `0 0 1000 ${height}`, role: "img", "aria-label": "Who calls whom" });
        drawing.style.minWidth = "720px";
        const link = (column, from, to, knot) => {
            const [start, end] = [(COLUMNS[column] ?? 0) + BOX, COLUMNS[column + 1] ?? 0];
            const middle = (start + end) / 2;
            const failing = knot.errors > 0 && knot.errors >= knot.rate * 0.01;
            drawing.append(svg("path", { d: `M${start} ${from} C${middle} ${from} ${middle} ${to} ${end} ${to}`, fill: "none", stroke: failing ? "var(--bad)" : knot.rate > 0 ? "var(--accent)" : "var(--line)", "stroke-width": (1 + 5 * Math.sqrt(knot.rate / most)).toFixed(1), "stroke-opacity": 0.7 }));
        };
        for (const [listener, cluster] of edges) {
            const from = unique.findIndex((knot) => knot.name === listener);
            const to = clusters.findIndex((knot) => knot.name === cluster);
            const knot = clusters[to];
            if (from >= 0 && knot)
                link(0, y(from, unique.length), y(to, clusters.length), knot);
        }
        ends.forEach((end, at) => {
            const from = clusters.findIndex((knot) => knot.name === end.of);
            link(1, y(from, clusters.length), y(at, ends.length), { rate: end.rate, errors: end.well ? 0 : 1 });
        });
        const box = (column, at, count, knot, well = true) => {
            const [left, top] = [COLUMNS[column] ?? 0, y(at, count) - 18];
            const failing = knot.errors > 0 || !well;
            const name = knot.name.length > 32 ? `${knot.name.slice(0, 31)}…` : knot.name;
            drawing.append(svg("rect", { x: left, y: top, width: BOX, height: 36, rx: 7, fill: "var(--card)", stroke: failing ? "var(--bad)" : "var(--line)" }), svg("text", { class: "strong", x: left + 10, y: top + 15 }, name, svg("title", {}, knot.name)), svg("text", { x: left + 10, y: top + 29 }, `${short(knot.rate)}/s${knot.errors > 0 ? `, ${short(knot.errors)} failed` : ""}${knot.note ? `, ${knot.note}` : ""}`));
        };
        unique.forEach((knot, at) => box(0, at, unique.length, knot));
        clusters.forEach((knot, at) => box(1, at, clusters.length, knot));
        ends.forEach((knot, at) => box(2, at, ends.length, knot, knot.well));
        picture.replaceChildren(drawing);
    });
    return stop;
}
