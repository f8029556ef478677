import { bar, lines } from "./charts.js";
import { card, el, percent, short, time } from "./dom.js";
import { durations, each, latest, moments, number, quantile, rate } from "./feed.js";

const tile = (value: string, what: string, kind = "") => el("p", { class: "card tile" }, el("b", { class: kind }, value), el("span", {}, what));

/** Rate, errors, latency and saturation. */
export function overview(view: HTMLElement): () => void {
  return each(() => {
    const now = latest();
    if (!now) return view.replaceChildren(card("Overview", el("p", { class: "dim" }, "Waiting for two seconds of figures.")));
    const requests = rate(now, "http", ["downstream_rq_total"]);
    const failed = rate(now, "http", ["downstream_rq_5xx"]);
    const refused = rate(now, "http", ["downstream_rq_4xx"]);
    const cells = durations(now);
    const { server } = now.told;
    const active = now.told.http.reduce((sum, row) => sum + number(row, "downstream_rq_active"), 0);
    const over = (run: (moment: (typeof moments)[number]) => number) => moments.map(run);
    const quantiles: [string, number, string][] = [["p50", 0.5, "var(--good)"], ["p90", 0.9, "var(--accent)"], ["p99", 0.99, "var(--warn)"], ["p99.9", 0.999, "var(--bad)"]];
    const cores = now.told.workers.map((worker) => {
      const busy = rate(now, "workers", ["busy_us"], worker.name) / 1e6;
      return el("div", {}, el("span", {}, `core ${worker.name}: ${(busy * 100).toFixed(0)} %`), el("span", { class: "dim" }, ` ${short(number(worker, "tasks_active"))} tasks`), bar(busy));
    });
    view.replaceChildren(
      el("div", { class: "tiles" },
        tile(short(requests), "requests per second"),
        tile(percent(failed, requests), "answered 5xx", failed > 0 ? "bad" : ""),
        tile(percent(refused, requests), "answered 4xx"),
        tile(time(quantile(cells, 0.5)), "median"),
        tile(time(quantile(cells, 0.99)), "99th percentile"),
        tile(short(active), "requests under way"),
        tile(short(server.open_connections), "connections"),
      ),
      el("div", { class: "grid" },
        card("Requests per second", lines([
          { name: "all", color: "var(--accent)", values: over((moment) => rate(moment, "http", ["downstream_rq_total"])) },
          { name: "4xx", color: "var(--warn)", values: over((moment) => rate(moment, "http", ["downstream_rq_4xx"])) },
          { name: "5xx", color: "var(--bad)", values: over((moment) => rate(moment, "http", ["downstream_rq_5xx"])) },
        ])),
        card("Latency", lines(quantiles.map(([name, of, color]) => ({ name, color, values: over((moment) => quantile(durations(moment), of)) })), time)),
        card("Cores", ...cores, el("p", { class: "dim" }, "Busy is time not spent waiting for the kernel.")),
        card("Process", el("dl", {},
          el("dt", {}, "version"), el("dd", {}, server.version),
          el("dt", {}, "state"), el("dd", { class: server.state === "LIVE" ? "good" : "warn" }, server.state),
          el("dt", {}, "up for"), el("dd", {}, `${server.uptime_seconds} s`),
          el("dt", {}, "generation"), el("dd", {}, String(server.generation ?? "-")),
          el("dt", {}, "TCP connections"), el("dd", {}, short(now.told.tcp.reduce((sum, row) => sum + number(row, "downstream_cx_active"), 0))),
        )),
      ),
    );
  });
}
