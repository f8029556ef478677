import { ask, card, el, short, table } from "./dom.js";
import { each, latest } from "./feed.js";

interface Snapshot { generation: number; origin: string; published_at: number; bytes: number; listeners: number; routes: number; clusters: number; in_force: boolean }

/** The last configurations: what changed, and the way back. */
export function snapshots(view: HTMLElement): () => void {
  const list = el("div");
  const detail = el("div");
  view.replaceChildren(card("Configurations", list), detail);
  const compare = async (to: number) => {
    const answer = await fetch(`/snapshots/${to}/diff`);
    const lines = (await answer.text()).split("\n").map((line) => el("span", { class: line.startsWith("+") ? "added" : line.startsWith("-") ? "gone" : undefined }, `${line}\n`));
    detail.replaceChildren(card(`What generation ${to} changed`, el("pre", {}, ...lines)));
  };
  const show = async () => {
    const { snapshots } = await ask<{ snapshots: Snapshot[] }>("/snapshots");
    list.replaceChildren(table<Snapshot>([
      { name: "generation", number: true, show: (one) => one.generation },
      { name: "", show: (one) => one.in_force && el("span", { class: "good" }, "in force") },
      { name: "since", show: (one) => new Date(one.published_at * 1000).toLocaleString() },
      { name: "from", long: true, show: (one) => one.origin },
      { name: "listeners", number: true, show: (one) => short(one.listeners) },
      { name: "routes", number: true, show: (one) => short(one.routes) },
      { name: "clusters", number: true, show: (one) => short(one.clusters) },
      { name: "", show: (one) => el("button", { type: "button", click: () => void compare(one.generation) }, "diff") },
      { name: "", show: (one) => !one.in_force && el("button", { type: "button", "data-rollback": one.generation, click: () => confirm(one) }, "roll back") },
    ], [...snapshots].reverse()));
  };
  const confirm = (one: Snapshot) => {
    const dialog = el("dialog", { "aria-label": "Roll back" });
    const close = () => dialog.remove();
    const roll = async () => {
      close();
      const answer = await fetch(`/snapshots/${one.generation}/rollback`, { method: "POST" });
      const said = (await answer.text()).trim();
      detail.replaceChildren(card(answer.ok ? "Rolled back" : "Not rolled back", el("p", { class: answer.ok ? "good" : "bad" }, said)));
      await show();
    };
    dialog.append(
      el("p", {}, `Put generation ${one.generation} (${one.origin}) in force again?`),
      el("div", { class: "bar-row" }, el("button", { type: "button", id: "confirm", click: () => void roll() }, "Roll back"), el("button", { type: "button", click: close }, "Cancel")),
    );
    dialog.addEventListener("close", close);
    document.body.append(dialog);
    dialog.showModal();
  };
  let generation: number | null | undefined;
  const fail = (error: Error) => list.replaceChildren(el("p", { class: "bad" }, error.message));
  show().catch(fail);
  return each(() => {
    const now = latest()?.told.server.generation;
    if (now !== generation) {
      generation = now;
      show().catch(fail);
    }
  });
}
