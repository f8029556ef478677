import { ask, card, el, replace, table, time } from "./dom.js";
export function requests(view) {
    const kind = el("select", { "aria-label": "Kind" }, ...["recent", "slow", "failed"].map((name) => el("option", {}, name)));
    const filter = el("input", { type: "search", placeholder: "name, status, flag, trace id", "aria-label": "Filter requests" });
    const list = el("div");
    view.replaceChildren(card("Requests", el("div", { class: "bar-row" }, kind, filter), list));
    let ended = false;
    let asked = 0;
    let answered = 0;
    const show = async () => {
        const number = ++asked;
        try {
            const { traces } = await ask(`/traces?kind=${kind.value}&limit=200`);
            if (ended || number !== asked)
                return;
            const text = (line) => [line.trace_id, line.service, line.name, line.response_code, line.response_flags].join(" ");
            const wanted = traces.filter((line) => text(line).includes(filter.value));
            replace(list, wanted.length === 0 ? el("p", { class: "dim" }, "None. Requests are kept while they are sampled: see `tracing` in the configuration.") : table([
                { name: "when", show: (line) => (line.start_us === null ? "-" : new Date(line.start_us / 1000).toLocaleTimeString()) },
                { name: "request", show: (line) => line.name, long: true },
                { name: "status", number: true, show: (line) => el("span", { class: line.failed ? "bad" : "good" }, line.response_code ?? "-") },
                { name: "flags", show: (line) => line.response_flags },
                { name: "took", number: true, show: (line) => time(line.duration_us) },
                { name: "spans", number: true, show: (line) => line.spans },
                { name: "service", show: (line) => line.service },
                { name: "trace", show: (line) => line.trace_id?.slice(0, 16) },
            ], wanted, (line) => line.trace_id && (location.hash = `trace/${line.trace_id}`), (line) => line.trace_id ?? ""));
        }
        catch (error) {
            if (!ended && number === asked)
                list.replaceChildren(el("p", { class: "bad" }, error.message));
        }
        finally {
            answered = Math.max(answered, number);
        }
    };
    const rests = () => answered < asked || document.activeElement?.closest("tr");
    const timer = setInterval(() => void (rests() ? undefined : show()), 1000);
    for (const control of [kind, filter])
        control.addEventListener("input", () => void show());
    void show();
    return () => {
        ended = true;
        clearInterval(timer);
    };
}
export function trace(view, id) {
    view.replaceChildren(card("Trace", el("p", { class: "dim" }, "loading")));
    ask(`/traces/${encodeURIComponent(id)}`).then(({ trace_id, spans }) => {
        const from = Math.min(...spans.map((span) => span.start_us));
        const whole = Math.max(1, Math.max(...spans.map((span) => span.end_us)) - from);
        const detail = el("div");
        const depth = (span) => {
            const parent = spans.find((other) => other.id === span.parent);
            return parent ? 1 + depth(parent) : 0;
        };
        const list = (all) => el("dl", {}, ...Object.entries(all).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
        const open = (span) => {
            const events = span.events.flatMap((event) => [el("h2", {}, `${event.name} at ${time(event.at_us - from)}`), list(event.attributes)]);
            detail.replaceChildren(card(`${span.kind} ${span.name}`, span.status.code === "error" && el("p", { class: "bad" }, span.status.message ?? "failed"), list(span.attributes), ...events));
        };
        const waterfall = table([
            { name: "span", long: true, show: (span) => `${"\u00a0".repeat(depth(span) * 3)}${span.name}` },
            { name: "of", show: (span) => `${span.service} (${span.kind})` },
            { name: "from", number: true, show: (span) => time(span.start_us - from) },
            { name: "took", number: true, show: (span) => time(span.end_us - span.start_us) },
            { name: "", show: (span) => {
                    const mark = el("i", { class: `${span.kind} ${span.status.code === "error" ? "failed" : ""}` });
                    mark.style.left = `${(((span.start_us - from) / whole) * 100).toFixed(2)}%`;
                    mark.style.width = `${(((span.end_us - span.start_us) / whole) * 100).toFixed(2)}%`;
                    const line = el("div", { class: "span" }, mark);
                    line.style.width = "320px";
                    return line;
                } },
        ], spans, open);
        view.replaceChildren(card(`Trace ${trace_id}`, el("p", { class: "dim" }, `${spans.length} spans in ${time(whole)}`), waterfall), detail);
        const first = spans[0];
        if (first)
            open(first);
    }).catch((error) => view.replaceChildren(card("Trace", el("p", { class: "bad" }, error.message))));
    return () => undefined;
}
