import { ask, card, el, percent, short, table, time } from "./dom.js";
import { each, latest, number, rate, type Histogram, type Row } from "./feed.js";

export interface HostStatus { address: string; healthy: boolean; health_flags: string; weight: number; rq_active: number; rq_total: number; cx_active: number; cx_connect_fail: number }
export interface ClusterStatus { name: string; host_statuses: HostStatus[] }
export const hosts = async () => (await ask<{ cluster_statuses: ClusterStatus[] }>("/clusters?format=json")).cluster_statuses;

/** Clusters with their hosts, health and ejections. */
export function clusters(view: HTMLElement): () => void {
  const filter = el("input", { type: "search", placeholder: "name", "aria-label": "Filter clusters by name" });
  const summary = el("div");
  const detail = el("div");
  view.replaceChildren(card("Clusters", el("div", { class: "bar-row" }, filter), summary), detail);
  const wanted = (name: string) => name.includes(filter.value);
  const mean = (row: Row, before: Row | undefined) => {
    const of = (row: Row | undefined) => (row?.["upstream_rq_time"] ?? {}) as Histogram;
    const count = (of(row).count ?? 0) - (of(before).count ?? 0);
    return count > 0 ? ((of(row).sum_us ?? 0) - (of(before).sum_us ?? 0)) / count : NaN;
  };
  const stop = each(() => {
    const now = latest();
    if (!now) return;
    const rows = now.told.clusters.filter((row) => wanted(row.name));
    const per = (key: string) => (row: Row) => short(rate(now, "clusters", [key], row.name));
    const left = now.told.clusters_left_out;
    summary.replaceChildren(table<Row>([
      { name: "cluster", show: (row) => row.name, long: true },
      { name: "requests/s", number: true, show: per("upstream_rq_total") },
      { name: "5xx", number: true, show: (row) => percent(rate(now, "clusters", ["upstream_rq_5xx"], row.name), rate(now, "clusters", ["upstream_rq_total"], row.name)) },
      { name: "mean", number: true, show: (row) => time(mean(row, now.before.clusters.find((other) => other.name === row.name))) },
      { name: "under way", number: true, show: (row) => short(number(row, "upstream_rq_active")) },
      { name: "retries/s", number: true, show: per("upstream_rq_retry") },
      { name: "overflows/s", number: true, show: per("upstream_rq_pending_overflow") },
      { name: "connections", number: true, show: (row) => short(number(row, "upstream_cx_active")) },
      { name: "healthy", number: true, show: (row) => {
        const [well, all] = [number(row, "membership_healthy"), number(row, "membership_total")];
        return el("span", { class: well < all ? "bad" : "good" }, `${well} of ${all}`);
      } },
    ], rows), left > 0 && el("p", { class: "dim" }, `${left} more clusters with fewer requests are not shown.`) || "");
  });
  let ended = false;
  const refresh = async () => {
    if (ended) return;
    try {
      const known = (await hosts()).filter((cluster) => wanted(cluster.name)).slice(0, 50);
      if (!ended) detail.replaceChildren(...known.map((cluster) => card(`Hosts of ${cluster.name}`, table<HostStatus>([
        { name: "host", show: (host) => host.address, long: true },
        { name: "health", show: (host) => el("span", { class: host.healthy ? "good" : "bad" }, host.health_flags) },
        { name: "weight", number: true, show: (host) => host.weight },
        { name: "under way", number: true, show: (host) => short(host.rq_active) },
        { name: "requests", number: true, show: (host) => short(host.rq_total) },
        { name: "connections", number: true, show: (host) => short(host.cx_active) },
        { name: "failed connects", number: true, show: (host) => short(host.cx_connect_fail) },
      ], cluster.host_statuses))));
    } finally {
      if (!ended) setTimeout(() => void refresh().catch(() => undefined), 2000);
    }
  };
  void refresh().catch(() => undefined);
  return () => {
    ended = true;
    stop();
  };
}
