import { ask, card, el, table } from "./dom.js";

type Json = Record<string, unknown>;
export interface Dump { generation: number; config: { listeners: Json[]; clusters: Json[]; routes?: Record<string, Json> } }
export const dump = () => ask<Dump>("/config_dump");

export interface KnownRoute { listener: string; chain: string; host: string; name: string; match: string; action: string; clusters: string[] }

/** The routes of a configuration, flat. */
export function routesOf({ config }: Dump): KnownRoute[] {
  const all: KnownRoute[] = [];
  for (const listener of config.listeners) {
    const chains = (listener["filter_chains"] as Json[] | undefined) ?? [];
    for (const chain of chains.length > 0 ? chains : [listener]) {
      const place = { listener: String(listener["name"]), chain: chain === listener ? "" : String(chain["name"]) };
      if (typeof chain["cluster"] === "string") {
        all.push({ ...place, host: "", name: "", match: "bytes", action: `cluster ${chain["cluster"]}`, clusters: [chain["cluster"]] });
        continue;
      }
      const named = chain["routes"];
      const routes = (typeof named === "string" ? config.routes?.[named] : named) as Json | undefined;
      for (const host of (routes?.["virtual_hosts"] as Json[] | undefined) ?? []) {
        for (const route of (host["routes"] as Json[] | undefined) ?? []) {
          const action = route["route"] as Json | undefined;
          const weighted = (action?.["weighted_clusters"] as Json[] | undefined) ?? [];
          const clusters = weighted.map((one) => String(one["name"]));
          if (typeof action?.["cluster"] === "string") clusters.push(action["cluster"]);
          const fallback = action?.["fallback_cluster"] as Json | undefined;
          if (fallback) clusters.push(String(fallback["name"]));
          const told = action ?? route["redirect"] ?? route["direct_response"] ?? {};
          const kind = action ? "" : route["redirect"] ? "redirect " : "direct response ";
          all.push({ ...place, host: ((host["domains"] as string[] | undefined) ?? []).join(", "), name: String(route["name"] ?? ""), match: JSON.stringify(route["match"]), action: kind + JSON.stringify(told), clusters });
        }
      }
    }
  }
  return all;
}

/** All routes, in the order in which they are looked at. */
export function routes(view: HTMLElement): () => void {
  const filter = el("input", { type: "search", placeholder: "path, domain, cluster", "aria-label": "Filter routes" });
  const list = el("div");
  view.replaceChildren(card("Routes", el("div", { class: "bar-row" }, filter), list));
  dump().then((dump) => {
    const all = routesOf(dump);
    const show = () => {
      const wanted = all.filter((route) => Object.values(route).join(" ").includes(filter.value));
      list.replaceChildren(
        table<KnownRoute>([
          { name: "listener", show: (route) => route.listener + (route.chain ? ` / ${route.chain}` : "") },
          { name: "domains", show: (route) => route.host, long: true },
          { name: "name", show: (route) => route.name },
          { name: "match", show: (route) => route.match, long: true },
          { name: "action", show: (route) => route.action, long: true },
        ], wanted.slice(0, 500)),
        el("p", { class: "dim" }, `${wanted.length} of ${all.length} routes${wanted.length > 500 ? ", the first 500 are shown" : ""}`),
      );
    };
    filter.addEventListener("input", show);
    show();
  }).catch((error: Error) => list.replaceChildren(el("p", { class: "bad" }, error.message)));
  return () => undefined;
}
