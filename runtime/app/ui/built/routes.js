import { ask, card, el, table } from "./dom.js";
export const dump = () => ask("/config_dump");
export function routesOf({ config }) {
    const all = [];
    for (const listener of config.listeners) {
        const chains = listener["filter_chains"] ?? [];
        for (const chain of chains.length > 0 ? chains : [listener]) {
            const place = { listener: String(listener["name"]), chain: chain === listener ? "" : String(chain["name"]) };
            if (typeof chain["cluster"] === "string") {
                all.push({ ...place, host: "", name: "", match: "bytes", action: `cluster ${chain["cluster"]}`, clusters: [chain["cluster"]] });
                continue;
            }
            const named = chain["routes"];
            const routes = (typeof named === "string" ? config.routes?.[named] : named);
            for (const host of routes?.["virtual_hosts"] ?? []) {
                for (const route of host["routes"] ?? []) {
                    const action = route["route"];
                    const weighted = action?.["weighted_clusters"] ?? [];
                    const clusters = weighted.map((one) => String(one["name"]));
                    if (typeof action?.["cluster"] === "string")
                        clusters.push(action["cluster"]);
                    const fallback = action?.["fallback_cluster"];
                    if (fallback)
                        clusters.push(String(fallback["name"]));
                    const told = action ?? route["redirect"] ?? route["direct_response"] ?? {};
                    const kind = action ? "" : route["redirect"] ? "redirect " : "direct response ";
                    all.push({ ...place, host: (host["domains"] ?? []).join(", "), name: String(route["name"] ?? ""), match: JSON.stringify(route["match"]), action: kind + JSON.stringify(told), clusters });
                }
            }
        }
    }
    return all;
}
export function routes(view) {
    const filter = el("input", { type: "search", placeholder: "path, domain, cluster", "aria-label": "Filter routes" });
    const list = el("div");
    view.replaceChildren(card("Routes", el("div", { class: "bar-row" }, filter), list));
    dump().then((dump) => {
        const all = routesOf(dump);
        const show = () => {
            const wanted = all.filter((route) => Object.values(route).join(" ").includes(filter.value));
            list.replaceChildren(table([
                { name: "listener", show: (route) => route.listener + (route.chain ? ` / ${route.chain}` : "") },
                { name: "domains", show: (route) => route.host, long: true },
                { name: "name", show: (route) => route.name },
                { name: "match", show: (route) => route.match, long: true },
                { name: "action", show: (route) => route.action, long: true },
            ], wanted.slice(0, 500)), el("p", { class: "dim" }, `${wanted.length} of ${all.length} routes${wanted.length > 500 ? ", the first 500 are shown" : ""}`));
        };
        filter.addEventListener("input", show);
        show();
    }).catch((error) => list.replaceChildren(el("p", { class: "bad" }, error.message)));
    return () => undefined;
}
