/** What the process tells once a second, and what changed since. */

export interface Histogram { cells?: number[]; count?: number; sum_us?: number }
export type Row = { name: string } & Record<string, number | string | Histogram>;

export interface Told {
  at_ms: number;
  server: { version: string; state: string; uptime_seconds: number; workers: number; generation: number | null; open_connections: number };
  workers: Row[];
  http: Row[];
  tcp: Row[];
  clusters: Row[];
  clusters_left_out: number;
}

/** Two moments, and the seconds between them. */
export interface Moment { told: Told; before: Told; seconds: number }

/** So many seconds are kept. */
export const KEPT = 120;

export const moments: Moment[] = [];
const listeners = new Set<() => void>();
let last: Told | undefined;

export function follow(state: (is: "live" | "lost") => void): void {
  const source = new EventSource("/events");
  source.addEventListener("message", (event) => {
    state("live");
    const told = JSON.parse(event.data as string) as Told;
    // A process that has begun anew counts from zero.
    const goesOn = last && told.server.uptime_seconds >= last.server.uptime_seconds && told.at_ms > last.at_ms;
    if (last && goesOn) {
      moments.push({ told, before: last, seconds: (told.at_ms - last.at_ms) / 1000 });
      if (moments.length > KEPT) moments.shift();
    } else {
      moments.length = 0;
    }
    last = told;
    for (const listener of listeners) listener();
  });
  source.addEventListener("error", () => {
    state("lost");
    // The browser tries again by itself, unless it was refused.
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(() => follow(state), 2000);
    }
  });
}

/** Runs this after each moment, until the function that it returns is called. */
export function each(run: () => void): () => void {
  listeners.add(run);
  run();
  return () => void listeners.delete(run);
}

export const latest = (): Moment | undefined => moments[moments.length - 1];

export function number(row: Row | undefined, key: string): number {
  const value = row?.[key];
  return typeof value === "number" ? value : 0;
}

/** How much a count has grown per second, for one row or all of a kind. */
export function rate(moment: Moment, kind: "http" | "tcp" | "clusters" | "workers", keys: string[], name?: string): number {
  const sum = (told: Told) => {
    let total = 0;
    for (const row of told[kind]) if (name === undefined || row.name === name) for (const key of keys) total += number(row, key);
    return total;
  };
  return Math.max(0, sum(moment.told) - sum(moment.before)) / moment.seconds;
}

/** The middle of a cell of the latency histograms, in microseconds: four cells to a factor of two. */
export const cellMiddle = (cell: number): number => cellEnd(cell - 0.5);
const cellEnd = (cell: number): number => 16 * 2 ** (cell / 4);

/** The durations of one moment, by cell, of all listeners or one. */
export function durations(moment: Moment, name?: string): number[] {
  const cells: number[] = [];
  const add = (told: Told, sign: number) => {
    for (const row of told.http) {
      if (name !== undefined && row.name !== name) continue;
      const histogram = row["downstream_rq_time"];
      if (typeof histogram !== "object") continue;
      histogram.cells?.forEach((count, cell) => (cells[cell] = (cells[cell] ?? 0) + sign * count));
    }
  };
  add(moment.told, 1);
  add(moment.before, -1);
  return cells.map((count) => Math.max(0, count));
}

export function quantile(cells: number[], of: number): number {
  const total = cells.reduce((sum, count) => sum + count, 0);
  if (total === 0) return NaN;
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
