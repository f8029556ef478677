// The live view in a real browser: live figures, every view, a trace, a rollback; nothing hostile runs.
// Usage: node run.js RINGWAY CHROMIUM [FOLDER FOR SCREENSHOTS]
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [ringway, browserPath, shots] = process.argv.slice(2);
const dir = mkdtempSync(join(tmpdir(), "ringway-ui-"));
const fail = (why) => {
  throw new Error(why);
};
const check = (holds, why) => holds || fail(why);
const port = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const HOSTILE = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>";

let id = 0;
const upstream = http.createServer((request, response) => {
  const slow = request.url.startsWith("/slow") ? 40 + 20 * Math.random() : 3 * Math.random() + (++id % 50 === 0 ? 15 : 0);
  setTimeout(() => {
    response.statusCode = request.url.startsWith("/broken") ? 503 : 200;
    response.end("hello\n");
  }, slow);
});
await new Promise((resolve) => upstream.listen(0, "127.0.0.1", resolve));
const to = `127.0.0.1:${upstream.address().port}`;
const [web, admin, dead] = [await port(), await port(), await port()];
const config = (canary) => `
workers: 2
admin: { address: "127.0.0.1:${admin}" }
tracing: { service_name: shop-edge, sampling: { random: 20% }, tail: { errors: true } }
listeners:
  - name: web
    address: "127.0.0.1:${web}"
    protocol: http1
    routes:
      virtual_hosts:
        - domains: ["*"]
          routes:
            - { name: '${HOSTILE}', match: { prefix: /hostile }, route: { cluster: shop } }
            - { name: cart, match: { prefix: /cart }, route: { weighted_clusters: [{ name: shop, weight: ${100 - canary} }, { name: shop-canary, weight: ${canary} }] } }
            - { name: search, match: { prefix: /slow }, route: { cluster: search } }
            - { match: { prefix: / }, route: { cluster: shop, retry: { on: [connect-failure], host_selection: [previous_hosts] } } }
clusters:
  - { name: shop, endpoints: ["${to}", "127.0.0.1:${dead}"], outlier_detection: {} }
  - { name: shop-canary, endpoints: ["${to}"] }
  - { name: search, endpoints: ["${to}"] }
`;
const file = join(dir, "c.yaml");
writeFileSync(file, config(5));
const proxy = spawn(ringway, ["run", "-c", file], { stdio: ["ignore", "ignore", "pipe"] });
let said = "";
proxy.stderr.on("data", (data) => (said += data));
const base = `http://127.0.0.1:${admin}`;
const until = async (what, holds) => {
  for (let turn = 0; turn < 150; turn++) {
    try {
      if (await holds()) return;
    } catch {
      // Not yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  fail(`${what} did not come\n${said}`);
};

let browser;
let traffic = true;
try {
  await until("the admin API", async () => (await fetch(`${base}/ready`)).ok);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const ask = (path, headers = {}) =>
    new Promise((resolve) => {
      const request = http.get({ port: web, host: "127.0.0.1", path, headers, agent }, (response) => response.resume().on("end", resolve));
      request.on("error", resolve);
    });
  const paths = ["/cart", "/cart/items", "/", "/slow?q=tea", "/cart", "/item/7"];
  const client = async (number) => {
    for (let turn = number; traffic; turn++) {
      await ask(turn % 97 === 0 ? "/broken" : paths[turn % paths.length]);
      await new Promise((resolve) => setTimeout(resolve, 8));
    }
  };
  const clients = [...Array(8).keys()].map(client);
  await ask(`/hostile/${HOSTILE.replaceAll(" ", "%20")}"'><svg/onload=window.hurt=1>`, { host: HOSTILE.replaceAll(" ", "+"), "user-agent": HOSTILE, "x-request-id": HOSTILE });
  writeFileSync(file, config(20));
  await until("the second configuration", async () => (await (await fetch(`${base}/snapshots`)).json()).snapshots.length === 2);

  // A page of another site may not change anything, and no name of a stranger leads here.
  const refused = await fetch(`${base}/snapshots/1/rollback`, { method: "POST", headers: { origin: "http://evil.example" } });
  check(refused.status === 403, `another site's page got ${refused.status}`);

  browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("data:") || errors.push(`asked for ${request.url()}`));
  const shot = (name) => (shots ? page.screenshot({ path: join(shots, `${name}.png`) }) : undefined);
  const view = async (name, holds) => {
    await page.evaluate((name) => (location.hash = name), name);
    await page.waitForFunction(holds, undefined, { timeout: 10000 });
  };

  const began = Date.now();
  await page.goto(`${base}/ui/`, { waitUntil: "load" });
  const took = Date.now() - began;
  check(took < 1000, `the page took ${took} ms`);
  await page.waitForFunction(() => Number.parseFloat(document.querySelector(".tile b")?.textContent ?? "0") > 0, undefined, { timeout: 10000 });
  const before = await page.textContent("#view svg path[stroke]");
  await page.waitForTimeout(shots ? 45000 : 2500);
  await shot("overview");
  check(before !== null, "no line is drawn");
  await view("topology", () => document.querySelectorAll("#view svg rect").length >= 5);
  await page.waitForTimeout(2500);
  await shot("topology");
  await view("latency", () => {
    const canvas = document.querySelector("canvas");
    return canvas?.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0);
  });
  await shot("latency");
  await view("clusters", () => document.body.innerText.includes("Hosts of shop") && document.body.innerText.includes("1 of 2"));
  await shot("clusters");
  await view("routes", () => document.body.innerText.includes("onerror=window.hurt"));
  await shot("routes");
  await view("requests", () => document.querySelectorAll("tr.link").length > 3);
  await page.selectOption("select", "failed");
  await page.waitForFunction(() => document.querySelector("tr.link .bad"), undefined, { timeout: 10000 });
  await page.fill("input[type=search]", "503");
  await page.selectOption("select", "slow");
  await page.fill("input[type=search]", "");
  await page.waitForFunction(() => document.querySelectorAll("tr.link").length > 3, undefined, { timeout: 10000 });
  await shot("requests");
  await page.locator("tr.link").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".span i").length >= 2, undefined, { timeout: 10000 });
  await shot("trace");
  // Everything that is kept, the hostile one among it.
  const { traces } = await (await fetch(`${base}/traces?kind=recent&limit=1000`)).json();
  for (const trace of traces.filter((trace) => (trace.name ?? "").includes("hostile")).slice(0, 3)) {
    await view(`trace/${trace.trace_id}`, () => document.querySelectorAll("dd").length > 3);
  }

  await view("configurations", () => document.querySelector("[data-rollback='1']"));
  await page.locator("tr", { hasText: "in force" }).getByRole("button", { name: "diff" }).click();
  await page.waitForFunction(() => document.querySelector("pre .added"), undefined, { timeout: 10000 });
  await shot("configurations");
  await page.click("[data-rollback='1']");
  await page.click("#confirm");
  await page.waitForFunction(() => document.body.innerText.includes("Rolled back"), undefined, { timeout: 10000 });
  await until("the rollback", async () => (await (await fetch(`${base}/server_info`)).json()).generation === 3);

  await page.emulateMedia({ colorScheme: "dark" });
  await view("overview", () => document.querySelectorAll(".tile b").length > 4);
  await shot("dark");
  await page.keyboard.press("4");
  await page.waitForFunction(() => location.hash === "#clusters");
  await page.setViewportSize({ width: 390, height: 800 });
  await view("overview", () => document.querySelectorAll(".tile b").length > 4);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(wide <= 0, `the page is ${wide} pixels wider than a phone`);
  await shot("phone");

  check(!(await page.evaluate(() => "hurt" in window)), "a hostile text was run");
  check(errors.length === 0, `the console says: ${errors.join("; ")}`);
  traffic = false;
  await Promise.all(clients);
  console.log(`live view: all passed; loaded in ${took} ms`);
} finally {
  traffic = false;
  await browser?.close();
  proxy.kill("SIGTERM");
  upstream.closeAllConnections();
  upstream.close();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);
