import { clusters } from "./clusters.js";
import { el } from "./dom.js";
import { follow } from "./feed.js";
import { latency } from "./latency.js";
import { overview } from "./overview.js";
import { requests, trace } from "./requests.js";
import { routes } from "./routes.js";
import { snapshots } from "./snapshots.js";
import { topology } from "./topology.js";
const VIEWS = [
    ["overview", overview],
    ["topology", topology],
    ["latency", latency],
    ["clusters", clusters],
    ["routes", routes],
    ["requests", requests],
    ["configurations", snapshots],
];
const view = document.getElementById("view");
const nav = document.getElementById("nav");
const state = document.getElementById("state");
let stop = () => undefined;
function show() {
    const [name = "", argument = ""] = location.hash.slice(1).split("/");
    const found = name === "trace" ? trace : VIEWS.find(([known]) => known === name)?.[1];
    stop();
    view.replaceChildren();
    stop = (found ?? overview)(view, argument);
    const current = name === "trace" ? "requests" : found ? name : "overview";
    for (const link of nav.querySelectorAll("a")) {
        if (link.dataset["view"] === current)
            link.setAttribute("aria-current", "page");
        else
            link.removeAttribute("aria-current");
    }
    document.title = `Ringway: ${current}`;
}
nav.append(...VIEWS.map(([name], at) => el("a", { href: `#${name}`, "data-view": name, title: `key ${at + 1}` }, name)));
addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || event.ctrlKey || event.metaKey || event.altKey)
        return;
    const chosen = VIEWS[Number(event.key) - 1];
    if (chosen)
        location.hash = chosen[0];
    if (event.key === "/") {
        const search = view.querySelector("input[type=search]");
        if (search) {
            event.preventDefault();
            search.focus();
        }
    }
});
const root = document.documentElement;
const kept = localStorage.getItem("theme");
if (kept)
    root.dataset["theme"] = kept;
document.getElementById("theme")?.addEventListener("click", () => {
    const dark = root.dataset["theme"] ? root.dataset["theme"] === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset["theme"] = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset["theme"]);
});
follow((is) => {
    state.dataset["is"] = is;
    state.textContent = is === "live" ? `live, ${new Date().toLocaleTimeString()}` : "connection lost, trying again";
});
show();
